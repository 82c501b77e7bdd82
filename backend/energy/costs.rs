//! What executions of a class draw and cost above idle, learnt.

use super::records::Class;

/// How many classes are told apart at a time; another takes the place of the one not seen for longest. Learning a tick
/// takes some 2 µs for all of them.
const PLACES: usize = 48;
/// Standard deviation of a tick's energy from what constant powers would give, as a part of it: meters and clocks.
const NOISE: f64 = 0.02;
/// By how much of itself a power wanders from tick to tick: temperatures, clocks, what else runs.
const WANDERS: f64 = 0.01;
/// The least part of the mean power that a class weighs with, so that energy is shared by time where all is 0.
const LEAST: f64 = 0.01;
/// Ticks that the mean power over all classes remembers.
const MEAN_TICKS: f64 = 16.0;

/// The power of each class: a Kalman filter over the energies of ticks, which are the sums of powers times times.
///
/// Classes that overlap in changing proportions are thus told apart, in about as many ticks as there are classes. A
/// power that cannot be known from the ticks seen stays where it was.
#[derive(Debug, Default)]
pub struct Powers {
    places: Vec<Place>,
    /// Of the places' powers, a row for each.
    covariance: Vec<Vec<f64>>,
    ticks: u64,
    /// Sums, in µJ and ns, of the last ticks.
    energy: f64,
    time: f64,
}

#[derive(Debug)]
struct Place {
    class: Class,
    /// µJ for each ns.
    power: f64,
    last_seen: u64,
}

impl Powers {
    /// The mean power of an execution of any class, in µJ for each ns; 0 before the first tick.
    pub fn mean(&self) -> f64 {
        if self.time > 0.0 { self.energy / self.time } else { 0.0 }
    }

    /// The power of a class, in µJ for each ns; the mean one's for a class that is not known.
    pub fn of(&self, class: Class) -> f64 {
        let mean = self.mean();
        let power = self.places.iter().find(|place| place.class == class).map_or(mean, |place| place.power);
        power.max(mean * LEAST)
    }

    /// A class will not be seen again.
    pub fn forget(&mut self, class: Class) {
        if let Some(index) = self.places.iter().position(|place| place.class == class) {
            self.places.swap_remove(index);
            self.covariance.swap_remove(index);
            for row in &mut self.covariance {
                row.swap_remove(index);
            }
        }
    }

    /// A tick of `whole_uj`, of which `above_uj` are above idle, in which the classes ran for so many ns.
    pub fn learn(&mut self, times: &[(Class, u64)], above_uj: u64, whole_uj: u64) {
        let energy = above_uj as f64;
        let time: f64 = times.iter().map(|&(_, ns)| ns as f64).sum();
        if time <= 0.0 {
            return;
        }
        self.ticks += 1;
        self.energy += energy - self.energy / MEAN_TICKS;
        self.time += time - self.time / MEAN_TICKS;
        // As a tick has room for, if there were ever so many classes.
        let times = &times[..times.len().min(PLACES)];
        let known: f64 = times
            .iter()
            .filter(|(class, _)| self.index(*class).is_some())
            .map(|&(class, ns)| self.of(class) * ns as f64)
            .sum();
        let new: f64 =
            times.iter().filter(|(class, _)| self.index(*class).is_none()).map(|&(_, ns)| ns as f64).sum();
        // What the known ones leave, if that makes sense.
        let first = if energy > known && new > 0.0 { (energy - known) / new } else { energy / time };
        let seen: Vec<(usize, f64)> =
            times.iter().map(|&(class, ns)| (self.place(class, first), ns as f64)).collect();
        let expected: f64 = seen.iter().map(|&(i, ns)| self.places[i].power * ns).sum();
        let reach: Vec<f64> =
            self.covariance.iter().map(|row| seen.iter().map(|&(j, ns)| row[j] * ns).sum()).collect();
        let spread: f64 = seen.iter().map(|&(i, ns)| reach[i] * ns).sum();
        let all = spread + (NOISE * whole_uj as f64).powi(2);
        if all > 0.0 && all.is_finite() {
            for (i, place) in self.places.iter_mut().enumerate() {
                // Nothing that runs gives energy back.
                place.power = (place.power + reach[i] * (energy - expected) / all).max(0.0);
                for (j, other) in reach.iter().enumerate() {
                    self.covariance[i][j] -= reach[i] * other / all;
                }
            }
        }
        let mean = self.mean();
        for (i, _) in seen {
            let power = self.places[i].power.max(mean * LEAST);
            let variance = &mut self.covariance[i][i];
            // What no tick shows would become ever less certain, and then jump.
            if *variance < power * power {
                *variance += (WANDERS * power).powi(2);
            }
        }
    }

    fn index(&self, class: Class) -> Option<usize> {
        self.places.iter().position(|place| place.class == class)
    }

    /// The place of a class, which has this power if it is new.
    fn place(&mut self, class: Class, power: f64) -> usize {
        let last_seen = self.ticks;
        if let Some(index) = self.index(class) {
            self.places[index].last_seen = last_seen;
            return index;
        }
        if self.places.len() >= PLACES {
            let oldest = self.places.iter().min_by_key(|place| place.last_seen).map(|place| place.class);
            self.forget(oldest.unwrap_or(class));
        }
        let index = self.places.len();
        self.places.push(Place { class, power, last_seen });
        for row in &mut self.covariance {
            row.push(0.0);
        }
        let mut row = vec![0.0; index + 1];
        row[index] = power * power;
        self.covariance.push(row);
        index
    }
}

/// By how much one execution fades those before it.
const FADES: f64 = 1.0 / 32.0;
/// All executions that one tick settles share its error: together they count as so many.
const MOST_OF_TICK: f64 = 8.0;
/// The least standard deviation that is claimed of a cost: no meter is better.
const LEAST_SPREAD: f64 = 0.01;

/// What an execution of a class costs.
#[derive(Debug, Default)]
pub struct Cost {
    uj: f64,
    count: f64,
    /// Squares of relative differences, and how many.
    squares: f64,
    compared: f64,
}

impl Cost {
    /// One tick has settled so many executions, 1 or more, for which so much is booked.
    pub fn learn(&mut self, uj: f64, count: u64) {
        let count = count as f64;
        let kept = (1.0 - FADES).powf(count.min(MOST_OF_TICK));
        if let Some(cost) = self.mean()
            && cost > 0.0
        {
            self.squares = self.squares * kept + (uj / count / cost - 1.0).powi(2);
            self.compared = self.compared * kept + 1.0;
        }
        self.uj = self.uj * kept + uj;
        self.count = self.count * kept + count;
    }

    /// In µJ.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.uj / self.count)
    }

    /// Standard deviation of what was booked from the mean, as a part of it.
    pub fn spread(&self) -> f64 {
        if self.compared > 0.0 { (self.squares / self.compared).sqrt().max(LEAST_SPREAD) } else { 1.0 }
    }
}
