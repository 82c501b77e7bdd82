//! How long a batch of a given size takes, learned from the batches that ran.
//!
//! Two things are told apart, as they change at different paces. The *shape*, how the time grows with the
//! images, belongs to the model and is learned slowly: a straight line in the images, corrected for each
//! size that was seen. The *speed* belongs to the machine and may change at any moment, for all sizes alike:
//! it is the median of what the last few batches took, compared with the shape. One batch that took five
//! times as long is no median; half of the machine gone is, after [`RECENT`]/2 batches.

use super::spread::Spread;

/// Batches whose median is the speed.
const RECENT: usize = 15;
/// What a batch weighs in the shape after the next one. It remembers some 1/(1-x) batches.
const KEPT: f64 = 0.995;
/// How much the line counts against what was seen of one size, in batches.
const LINE_WEIGHT: f64 = 4.0;
/// Of how many batches the time of one size is the mean at most.
const MOST_WEIGHT: f64 = 30.0;
/// One batch does not move its size's correction further than from here to there.
const BELIEVABLE: std::ops::RangeInclusive<f64> = 0.7..=1.4;
/// The weight of what is assumed before two sizes were seen: that half of a batch's time does not depend
/// on its size. The other batch sizes are then worth a try, and the try tells how it is.
const ASSUMED: f64 = 0.05;
/// The mean time of the line's batches, which begin in ns. The longest batch is well below the end of it.
const UNIT: std::ops::RangeInclusive<f64> = 1e-20..=1e20;
/// Batches whose cost per image is within this share of the cheapest are as good as the cheapest.
const AS_CHEAP: f64 = 1.02;

/// The time of a batch, from the moment that a worker takes it to the end of its execution, in nanoseconds,
/// as a function of its images.
pub struct ServiceTimes {
    /// For 1, 2, 3... images; empty of meaning before the first batch.
    estimates: Box<[f64]>,
    sizes: Box<[Size]>,
    line: Line,
    recent: Recent,
    spread: Spread,
    /// The smallest batch that is [`AS_CHEAP`] as any.
    cheap: usize,
}

/// What was seen of one batch size: the mean of its times, as parts of the line's.
#[derive(Clone, Copy)]
struct Size {
    ratio: f64,
    weight: f64,
}

impl ServiceTimes {
    /// Nothing known yet of batches of 1 to `max_batch_size` images.
    pub fn new(max_batch_size: usize) -> Self {
        let largest = max_batch_size.max(1);
        Self {
            estimates: vec![0.0; largest].into(),
            sizes: vec![Size { ratio: 1.0, weight: 0.0 }; largest].into(),
            line: Line::default(),
            recent: Recent::default(),
            spread: Spread::default(),
            cheap: 1,
        }
    }

    /// Learns from a batch of so many images that took so long.
    pub fn observe(&mut self, images: usize, ns: u64) {
        let images = images.clamp(1, self.sizes.len());
        let ns = ns.max(1) as f64;
        self.recent.push(images, ns);
        self.learn_shape(images, ns / self.speed_of_line());
        // After the batch counted for the shape too: the first batch of all has nothing else to go by.
        let speed = self.speed();
        if let Some((images, ns)) = self.recent.middle() {
            self.spread.observe(ns / (self.shape(images) * speed));
        }
        self.estimate_all(speed);
    }

    /// What a batch of so many images takes as a rule, in ns; None before the first batch.
    pub fn estimate(&self, images: usize) -> Option<f64> {
        let known = self.line.weight > 0.0;
        known.then(|| self.estimates[images.clamp(1, self.estimates.len()) - 1])
    }

    /// The factor on the estimate within which so much of the batches stay (0 to 100 percent); never below 1.
    pub fn spread(&self, percentile: f64) -> f64 {
        self.spread.quantile(percentile)
    }

    /// The smallest batch whose cost per image is hardly above the cheapest one's; 1 before the first batch.
    pub fn cheap_size(&self) -> usize {
        self.cheap
    }

    /// How the machine is now, as a factor on the shape. It is 1 while the shape itself is new.
    fn speed(&self) -> f64 {
        self.recent.median(|images, ns| ns / self.shape(images)).unwrap_or(1.0)
    }

    /// The same as the line takes it: where batches scatter widely, the line lies below the median. Were it given
    /// times at the median's speed, it would make all of them smaller, and so the shape, without end.
    fn speed_of_line(&self) -> f64 {
        self.recent.mean(|images, ns| ns / self.shape(images)).unwrap_or(1.0)
    }

    /// The time of so many images at the speed 1.
    fn shape(&self, images: usize) -> f64 {
        let size = self.sizes[images - 1];
        let ratio = (size.ratio * size.weight + LINE_WEIGHT) / (size.weight + LINE_WEIGHT);
        self.line.at(images as f64) * ratio
    }

    fn learn_shape(&mut self, images: usize, ns: f64) {
        self.line.observe(images as f64, ns);
        let ratio = ns / self.line.at(images as f64);
        let size = &mut self.sizes[images - 1];
        size.weight = (size.weight + 1.0).min(MOST_WEIGHT);
        size.ratio += (ratio.clamp(*BELIEVABLE.start(), *BELIEVABLE.end()) - size.ratio) / size.weight;
    }

    fn estimate_all(&mut self, speed: f64) {
        let mut longest = 0.0_f64;
        let mut cheapest = f64::INFINITY;
        for index in 0..self.estimates.len() {
            let images = index + 1;
            // More images never take less time: what looks so is noise.
            longest = longest.max(self.shape(images) * speed);
            self.estimates[index] = longest;
            cheapest = cheapest.min(longest / images as f64);
        }
        let costs = self.estimates.iter().zip(1..).map(|(ns, images)| ns / images as f64);
        self.cheap = 1 + costs.take_while(|&cost| cost > cheapest * AS_CHEAP).count();
    }
}

/// A straight line through times that grow with the images. Squares of relative errors are least, so that a
/// batch that took five times as long weighs little, and a large batch no more than a small one.
#[derive(Default)]
struct Line {
    weight: f64,
    images: f64,
    images_squared: f64,
    ns: f64,
    images_ns: f64,
    count: f64,
    fixed: f64,
    each: f64,
}

impl Line {
    fn at(&self, images: f64) -> f64 {
        self.fixed + self.each * images
    }

    fn observe(&mut self, images: f64, ns: f64) {
        let weight = 1.0 / (ns * ns);
        for (sum, value) in [
            (&mut self.weight, weight),
            (&mut self.images, weight * images),
            (&mut self.images_squared, weight * images * images),
            (&mut self.ns, weight * ns),
            (&mut self.images_ns, weight * images * ns),
            (&mut self.count, 1.0),
        ] {
            *sum = *sum * KEPT + value;
        }
        let mean_ns = self.ns / self.weight;
        if !UNIT.contains(&mean_ns) {
            self.scale(1.0 / mean_ns);
        }
        self.fit();
    }

    /// Makes all times so many times as long. What they are multiples of is nobody's concern once there is a speed,
    /// but chance may carry it far away over the months, to where numbers end.
    fn scale(&mut self, factor: f64) {
        for sum in [&mut self.weight, &mut self.images, &mut self.images_squared] {
            *sum /= factor * factor;
        }
        for sum in [&mut self.ns, &mut self.images_ns] {
            *sum /= factor;
        }
    }

    fn fit(&mut self) {
        let (mean_images, mean_ns) = (self.images / self.weight, self.ns / self.weight);
        // The assumption is one more point of the line: half of the mean time, at no images.
        let assumed_weight = ASSUMED * self.weight / self.count;
        let assumed_ns = mean_ns / 2.0;
        let weight = self.weight + assumed_weight;
        let ns = self.ns + assumed_weight * assumed_ns;
        let determinant = weight * self.images_squared - self.images * self.images;
        let each = (weight * self.images_ns - self.images * ns) / determinant;
        // Neither part of a time is negative. The line then goes through the mean with the other part alone.
        self.each = each.clamp(0.0, mean_ns / mean_images);
        self.fixed = (ns - self.each * self.images) / weight;
        self.fixed = self.fixed.max(0.0);
    }
}

/// The last batches, oldest overwritten first.
#[derive(Default)]
struct Recent {
    batches: [(usize, f64); RECENT],
    seen: usize,
}

impl Recent {
    fn push(&mut self, images: usize, ns: f64) {
        self.batches[self.seen % RECENT] = (images, ns);
        self.seen += 1;
    }

    /// The median of a value of the batches; None before there are enough.
    fn median(&self, value: impl Fn(usize, f64) -> f64) -> Option<f64> {
        if self.seen < RECENT {
            return None;
        }
        let mut values = self.batches.map(|(images, ns)| value(images, ns));
        let (_, &mut median, _) = values.select_nth_unstable_by(RECENT / 2, f64::total_cmp);
        Some(median)
    }

    /// The mean of a value of the batches as a [`Line`] makes it; None before there are enough.
    fn mean(&self, value: impl Fn(usize, f64) -> f64) -> Option<f64> {
        if self.seen < RECENT {
            return None;
        }
        let parts = self.batches.map(|(images, ns)| 1.0 / value(images, ns));
        let squares = parts.iter().map(|part| part * part).sum::<f64>();
        Some(parts.iter().sum::<f64>() / squares)
    }

    /// The batch with as many before it as after it. Compared with the median of all of them, it tells how
    /// batches scatter, and a lasting change of speed leaves no trace.
    fn middle(&self) -> Option<(usize, f64)> {
        (self.seen >= RECENT).then(|| self.batches[(self.seen + RECENT / 2) % RECENT])
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{MS, Model};
    use super::*;

    const INCEPTION: Model = Model { fixed_ms: 18.0, each_ms: 40.0 };
    /// Batches of all sizes, in no order.
    const SIZES: [usize; 8] = [3, 1, 8, 2, 5, 1, 6, 4];

    fn seen(batches: usize, seed: u64) -> ServiceTimes {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut service = ServiceTimes::new(16);
        for &images in SIZES.iter().cycle().take(batches) {
            service.observe(images, INCEPTION.scattered(&mut random, images));
        }
        service
    }

    /// How far an estimate is from `factor` times the model's.
    fn off(service: &ServiceTimes, images: usize, factor: f64) -> f64 {
        (service.estimate(images).expect("a batch was seen") / (INCEPTION.exact(images) as f64 * factor)
            - 1.0)
            .abs()
    }

    #[test]
    fn nothing_is_known_before_the_first_batch() {
        let mut service = ServiceTimes::new(16);
        assert_eq!((service.estimate(1), service.cheap_size()), (None, 1));
        service.observe(4, 100 * MS);
        assert!(service.estimate(4).is_some_and(|ns| (ns / 1e8 - 1.0).abs() < 0.01));
        assert!(service.estimate(1) < service.estimate(4) && service.estimate(4) < service.estimate(16));
        assert!(service.cheap_size() > 4, "larger batches are worth a try");
    }

    #[test]
    fn the_times_are_learned_and_those_of_other_sizes_with_them() {
        for seed in 0..20 {
            let service = seen(60, seed);
            for images in 1..=8 {
                assert!(off(&service, images, 1.0) < 0.1, "{images}: {}", off(&service, images, 1.0));
            }
            assert!(off(&service, 16, 1.0) < 0.15, "never seen: {}", off(&service, 16, 1.0));
        }
    }

    #[test]
    fn what_is_no_straight_line_is_learned_too() {
        // A device that computes four images in the time of one.
        let time = |images: usize| images.div_ceil(4) as u64 * 10 * MS;
        let mut service = ServiceTimes::new(16);
        for images in (1..=16).cycle().take(1_000) {
            service.observe(images, time(images));
        }
        for images in 1..=16 {
            let ratio = service.estimate(images).expect("seen") / time(images) as f64;
            assert!((0.8..1.2).contains(&ratio), "{images}: {ratio}");
        }
    }

    #[test]
    fn more_images_never_take_less_time() {
        for seed in 0..20 {
            let service = seen(12, seed);
            assert!((1..16).all(|images| service.estimate(images) <= service.estimate(images + 1)));
        }
    }

    #[test]
    fn one_slow_batch_changes_little() {
        for (images, most) in [(1, 0.1), (4, 0.1), (16, 0.2)] {
            let mut service = seen(100, 1);
            let before: Vec<_> = (1..=16).map(|images| service.estimate(images).expect("seen")).collect();
            let spread = service.spread(95.0);
            service.observe(images, 5 * INCEPTION.exact(images));
            for (images, before) in (1..).zip(before) {
                let ratio = service.estimate(images).expect("seen") / before;
                assert!((ratio - 1.0).abs() < most, "{images}: {ratio}");
            }
            assert!(service.spread(95.0) < spread + 0.05);
        }
    }

    #[test]
    fn batches_may_scatter_widely_for_as_long_as_they_like() {
        // Of a few microseconds on a busy machine: some go straight through, most are held up.
        let mut random = fastrand::Rng::with_seed(5);
        let mut service = ServiceTimes::new(16);
        for number in 0..200_000 {
            let images = SIZES[number % SIZES.len()];
            let held_up = [1, 4, 4, 4, 8][random.usize(..5)];
            service.observe(images, (2_000 + 100 * images as u64) * held_up);
            if number >= 1_000 {
                let estimate = |images| service.estimate(images).expect("seen");
                let ratio = estimate(1) / 2_100.0;
                assert!((0.8..9.0).contains(&ratio), "after {number} batches: {ratio}, 4 on the median");
                let growth = estimate(8) / estimate(1);
                assert!((1.0..3.0).contains(&growth), "after {number} batches: {growth} in place of 1.3");
            }
        }
    }

    #[test]
    fn the_unit_of_the_line_is_nobody_s_concern() {
        let mut random = fastrand::Rng::with_seed(6);
        let mut service = seen(60, 6);
        let estimates = service.estimates.clone();
        for unit in [1e-40, 1e60] {
            service.line.scale(unit);
            service.line.fit();
            let images = 3;
            service.observe(images, INCEPTION.scattered(&mut random, images));
            for (&now, &before) in service.estimates.iter().zip(&estimates) {
                assert!((now / before - 1.0).abs() < 0.1, "{before} became {now}");
            }
        }
    }

    #[test]
    fn the_slow_first_run_of_a_model_is_soon_forgotten() {
        let mut service = ServiceTimes::new(16);
        service.observe(1, 20 * INCEPTION.exact(1));
        for images in SIZES {
            service.observe(images, INCEPTION.exact(images));
        }
        assert!((1..=8).all(|images| off(&service, images, 1.0) < 0.1));
    }

    #[test]
    fn a_lasting_change_of_speed_is_followed_in_ten_batches_and_leaves_no_spread() {
        for factor in [2.0, 0.5] {
            let mut random = fastrand::Rng::with_seed(3);
            let mut service = seen(200, 2);
            let spread = service.spread(98.0);
            for &images in SIZES.iter().cycle().take(10) {
                service.observe(images, (INCEPTION.scattered(&mut random, images) as f64 * factor) as u64);
            }
            for images in [1, 4, 8, 16] {
                assert!(off(&service, images, factor) < 0.15, "{images}: {}", off(&service, images, factor));
            }
            assert!((service.spread(98.0) - spread).abs() < 0.1, "{}", service.spread(98.0));
        }
    }

    #[test]
    fn the_size_that_is_cheap_enough_follows_from_the_fixed_part() {
        let cheap = |fixed_ms, each_ms| Model { fixed_ms, each_ms }.known(16).cheap_size();
        assert_eq!(cheap(0.1, 40.0), 1);
        assert_eq!(cheap(20.0, 2.0), 16);
        assert!((8..=11).contains(&cheap(18.0, 40.0)), "{}", cheap(18.0, 40.0));
    }
}
