//! The service times of requests by what can be seen of their content: the sizes of their open dimensions.
//!
//! A request of ten times as many elements may take ten times as long. Requests are put into classes by the number of
//! their elements, and each class learns its own [`ServiceTimes`]; a new one goes by its nearest neighbour until it
//! has run. A model without open dimensions has one class.

use super::service_times::ServiceTimes;
use crate::buckets::Buckets;

/// A class whose neighbours have so many times as many elements goes by them.
const NEAR: f64 = 10.0;

/// The service times of all classes.
pub struct Services {
    /// Ascending; the first is there from the start.
    classes: Vec<(Class, ServiceTimes)>,
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
    factor: f64,
}

impl Services {
    /// With what was learnt when the model was loaded, with a single element in each open dimension.
    pub fn new(at_load: ServiceTimes) -> Self {
        Self { classes: vec![(Class(0), at_load)] }
    }

    /// Of a class.
    pub fn of(&self, class: Class) -> Estimates<'_> {
        let distance = |of: Class| class.times(of).max(of.times(class));
        let known =
            self.classes.iter().filter(|(of, times)| times.estimate(1).is_some() && distance(*of) <= NEAR);
        let nearest = known.min_by(|(a, _), (b, _)| distance(*a).total_cmp(&distance(*b)));
        match nearest {
            // Fewer elements need not take less time: part of it is fixed.
            Some((of, times)) => Estimates { times, factor: class.times(*of).max(1.0) },
            // Nothing is known: not even of a class that is there.
            None => Estimates { times: &self.classes[0].1, factor: f64::NAN },
        }
    }

    /// The sizes that batches are filled up to.
    pub fn buckets(&self) -> &Buckets {
        self.classes[0].1.buckets()
    }

    /// Whether requests of more than one class have run.
    pub fn several(&self) -> bool {
        self.classes.iter().filter(|(_, times)| times.estimate(1).is_some()).count() > 1
    }

    /// A batch of a class took so long.
    pub fn observe(&mut self, class: Class, rows: usize, ns: u64) {
        let index = match self.classes.binary_search_by_key(&class, |(of, _)| *of) {
            Ok(index) => index,
            Err(index) => {
                let unlearnt = self.classes[0].1.unlearnt();
                self.classes.insert(index, (class, unlearnt));
                index
            }
        };
        self.classes[index].1.observe(rows, ns);
    }
}

impl<'a> Estimates<'a> {
    /// What a batch of so many rows takes as a rule, in ns; None before one has run.
    pub fn estimate(&self, rows: usize) -> Option<f64> {
        self.times.estimate(rows).map(|ns| ns * self.factor).filter(|ns| !ns.is_nan())
    }

    /// What so many rows take of a worker's time as part of a cheap batch, in ns.
    pub fn work(&self, rows: usize) -> Option<f64> {
        let size = self.cheap_size();
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

    /// See [`ServiceTimes::cheap_size`].
    pub fn cheap_size(&self) -> usize {
        self.times.cheap_size()
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

    #[test]
    fn any_sizes_have_a_class() {
        assert_eq!(Class::of(&[]), Class::of(&[1, 1]));
        assert_eq!(Class::of(&[0, -1]), Class::of(&[1]));
        assert!(Class::of(&[4, 5]) == Class::of(&[5, 4]) && Class::of(&[4]) < Class::of(&[8]));
        assert!(Class::of(&[i64::MAX; 40]) >= Class::of(&[i64::MAX; 4]));
    }
}
