//! The service times of requests by what can be seen of their content: the sizes of their open dimensions.
//!
//! A request of ten times as many elements may take ten times as long. Requests are put into classes by the number of
//! their elements, and each class learns its own [`ServiceTimes`]; a new one goes by its nearest neighbour until it
//! has run. A model without open dimensions has one class.

use super::service_times::ServiceTimes;
use crate::buckets::Buckets;

/// A class whose neighbours have so many times as many elements goes by them.
const NEAR: f64 = 10.0;
/// After so many rows half of what is known of how many came of each class is forgotten.
const REMEMBERED_ROWS: f64 = 10_000.0;

/// The service times of all classes, and what their batches cost in energy where that is known.
pub struct Services {
    /// Ascending; the first is there from the start.
    classes: Vec<(Class, Learnt)>,
    /// Of all classes.
    rows: f64,
}

struct Learnt {
    times: ServiceTimes,
    /// In microjoules. They are learnt as times are: they grow with the rows, from a part that does not.
    energies: ServiceTimes,
    /// The rows that ran lately.
    rows: f64,
}

impl Learnt {
    fn new(times: ServiceTimes) -> Self {
        Self { energies: times.unlearnt(), times, rows: 0.0 }
    }

    fn estimates(&self, factor: f64) -> Estimates<'_> {
        Estimates { times: &self.times, energies: &self.energies, factor }
    }
}

/// How many elements a row of a request has, in steps of a factor of 1.41.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(u8);

impl Class {
    /// Of a request whose open dimensions have these sizes.
    pub fn of(shape: &[i64]) -> Self {
        // Ends far below 255.
        Self((shape.iter().map(|&size| (size.max(1) as f64).log2() * 2.0).sum::<f64>() as u64).min(250) as u8)
    }

    /// How many times as many elements it has as another one.
    fn times(self, other: Self) -> f64 {
        ((f64::from(self.0) - f64::from(other.0)) / 2.0).exp2()
    }
}

/// The service times of one class, or what stands for them.
#[derive(Clone, Copy)]
pub struct Estimates<'a> {
    times: &'a ServiceTimes,
    energies: &'a ServiceTimes,
    factor: f64,
}

impl Services {
    /// With what was learnt when the model was loaded, with a single element in each open dimension.
    pub fn new(at_load: ServiceTimes) -> Self {
        Self { classes: vec![(Class(0), Learnt::new(at_load))], rows: 0.0 }
    }

    /// Of a class.
    pub fn of(&self, class: Class) -> Estimates<'_> {
        let distance = |of: Class| class.times(of).max(of.times(class));
        let is_known =
            |of: Class, learnt: &Learnt| learnt.times.estimate(1).is_some() && distance(of) <= NEAR;
        let known = self.classes.iter().filter(|(of, learnt)| is_known(*of, learnt));
        let nearest = known.min_by(|(a, _), (b, _)| distance(*a).total_cmp(&distance(*b)));
        match nearest {
            // Fewer elements need not take less time: part of it is fixed.
            Some((of, learnt)) => learnt.estimates(class.times(*of).max(1.0)),
            // Nothing is known: not even of a class that is there.
            None => self.classes[0].1.estimates(f64::NAN),
        }
    }

    /// The sizes that batches are filled up to.
    pub fn buckets(&self) -> &Buckets {
        self.classes[0].1.times.buckets()
    }

    /// Whether requests of more than one class have run.
    pub fn several(&self) -> bool {
        self.classes.iter().filter(|(_, learnt)| learnt.times.estimate(1).is_some()).count() > 1
    }

    /// A batch of a class took so long.
    pub fn observe(&mut self, class: Class, rows: usize, ns: u64) {
        let learnt = self.learnt(class);
        learnt.times.observe(rows, ns);
        learnt.rows += rows as f64;
        self.rows += rows as f64;
        if self.rows > REMEMBERED_ROWS {
            self.classes.iter_mut().for_each(|(_, learnt)| learnt.rows /= 2.0);
            self.rows /= 2.0;
        }
    }

    /// The mean of a number of each class, over the rows that ran lately; before any did, that of the class that is there from the
    /// start.
    pub fn mean(&self, of: impl Fn(Estimates<'_>) -> Option<f64>) -> Option<f64> {
        if self.rows <= 0.0 {
            return of(self.classes[0].1.estimates(1.0));
        }
        let parts = self.classes.iter().filter(|(_, learnt)| learnt.rows > 0.0);
        let sum = parts.filter_map(|(_, learnt)| Some(of(learnt.estimates(1.0))? * learnt.rows)).sum::<f64>();
        Some(sum / self.rows)
    }

    /// Batches of a class and so many rows cost so many microjoules, as far as is known by now.
    pub fn observe_energy(&mut self, class: Class, rows: usize, uj: u64) {
        // One that costs nothing says that the meter is too coarse, and not that rows are free.
        if uj > 0 {
            self.learnt(class).energies.observe(rows, uj);
        }
    }

    fn learnt(&mut self, class: Class) -> &mut Learnt {
        let index = match self.classes.binary_search_by_key(&class, |(of, _)| *of) {
            Ok(index) => index,
            Err(index) => {
                let unlearnt = self.classes[0].1.times.unlearnt();
                self.classes.insert(index, (class, Learnt::new(unlearnt)));
                index
            }
        };
        &mut self.classes[index].1
    }
}

impl<'a> Estimates<'a> {
    /// What a batch of so many rows takes as a rule, in ns; None before one has run.
    pub fn estimate(&self, rows: usize) -> Option<f64> {
        self.times.estimate(rows).map(|ns| ns * self.factor).filter(|ns| !ns.is_nan())
    }

    /// What so many rows take of a worker's time as part of a batch that makes the most of it, in ns.
    pub fn work(&self, rows: usize) -> Option<f64> {
        let size = self.times.cheap_size();
        self.estimate(size).map(|ns| ns * rows as f64 / size as f64)
    }

    /// See [`ServiceTimes::buckets`].
    pub fn buckets(&self) -> &'a Buckets {
        self.times.buckets()
    }

    /// See [`ServiceTimes::spread`].
    pub fn spread(&self, percentile: f64) -> f64 {
        self.times.spread(percentile)
    }

    /// The smallest batch whose cost for each row is hardly above the cheapest one's: in energy, where that is known of more
    /// than one size, or else in time.
    pub fn cheap_size(&self) -> usize {
        let knows_energy = self.energies.well_known() > 1;
        if knows_energy { self.energies.cheap_size() } else { self.times.cheap_size() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn each_class_has_its_own_times() {
        let mut services = Services::new(ServiceTimes::new(8));
        let (small, large) = (Class::of(&[10]), Class::of(&[100]));
        assert_eq!(services.of(small).estimate(1), None);
        for _ in 0..50 {
            services.observe(small, 1, MS);
            services.observe(large, 1, 10 * MS);
        }
        let ms = |class| services.of(class).estimate(1).map(|ns| ns / 1e6);
        assert!(ms(small).is_some_and(|ms| (0.9..1.1).contains(&ms)), "{:?}", ms(small));
        assert!(ms(large).is_some_and(|ms| (9.0..11.0).contains(&ms)), "{:?}", ms(large));
        // By its nearest neighbour, longer where it is larger; nothing is said of what is far away.
        assert!(ms(Class::of(&[400])).is_some_and(|ms| (30.0..60.0).contains(&ms)));
        assert!(ms(Class::of(&[4])).is_some_and(|ms| (0.9..1.1).contains(&ms)));
        assert_eq!(ms(Class::of(&[100, 100])), None);
    }

    /// Time that says "one row at a time", and energy that says "many".
    #[test]
    fn the_cheapest_batch_is_that_of_energy_where_it_is_known() {
        let class = Class::of(&[]);
        let mut services = Services::new(ServiceTimes::new(16));
        for _ in 0..50 {
            (1..=16).for_each(|rows| services.observe(class, rows, rows as u64 * 40 * MS));
        }
        let cheap = |services: &Services| services.of(class).cheap_size();
        assert_eq!(cheap(&services), 1);
        for _ in 0..50 {
            services.observe_energy(class, 1, 3_000_000);
        }
        assert_eq!(cheap(&services), 1, "of one size nothing is to be told");
        for _ in 0..9 {
            services.observe_energy(class, 4, 6_000_000);
        }
        assert_eq!(cheap(&services), 1, "nine batches are too few");
        services.observe_energy(class, 4, 6_000_000);
        assert!(cheap(&services) > 12, "{}", cheap(&services));
        let work = services.of(class).work(4).unwrap();
        assert!((work / (160 * MS) as f64 - 1.0).abs() < 0.05, "work is time: {work} ns");
        assert_eq!(services.of(Class::of(&[2])).cheap_size(), cheap(&services), "as its neighbour");
    }

    #[test]
    fn a_meter_that_is_too_coarse_says_nothing() {
        let class = Class::of(&[]);
        let mut services = Services::new(ServiceTimes::new(16));
        for rows in 1..=16 {
            (0..50).for_each(|_| services.observe_energy(class, rows, 0));
            services.observe(class, rows, rows as u64 * MS);
        }
        assert_eq!(services.of(class).energies.well_known(), 0);
    }

    #[test]
    fn a_mean_is_over_the_rows_of_all_classes() {
        let (small, large) = (Class::of(&[10]), Class::of(&[100]));
        let mut services = Services::new(ServiceTimes::new(8));
        let ms = |services: &Services| services.mean(|times| times.estimate(1)).map(|ns| ns / 1e6);
        assert_eq!(ms(&services), None);
        for _ in 0..50 {
            (0..3).for_each(|_| services.observe(small, 1, MS));
            services.observe(large, 1, 9 * MS);
        }
        assert!(ms(&services).is_some_and(|ms| (2.8..3.2).contains(&ms)), "{:?}", ms(&services));
        // What comes now counts, not what came once.
        (0..60_000).for_each(|_| services.observe(large, 1, 9 * MS));
        assert!(ms(&services).is_some_and(|ms| (8.8..9.2).contains(&ms)), "{:?}", ms(&services));
        let mut at_load = ServiceTimes::new(8);
        at_load.observe(1, 5 * MS);
        assert!(
            ms(&Services::new(at_load)).is_some_and(|ms| (4.0..6.0).contains(&ms)),
            "before a request came"
        );
    }

    #[test]
    fn any_sizes_have_a_class() {
        assert_eq!(Class::of(&[]), Class::of(&[1, 1]));
        assert_eq!(Class::of(&[0, -1]), Class::of(&[1]));
        assert!(Class::of(&[4, 5]) == Class::of(&[5, 4]) && Class::of(&[4]) < Class::of(&[8]));
        assert!(Class::of(&[i64::MAX; 40]) >= Class::of(&[i64::MAX; 4]));
    }
}
