//! How long a batch of a given size takes, learned from the batches that ran.
//!
//! Two things are told apart, as they change at different paces. The *shape*, how the time grows with the
//! rows, belongs to the model and is learned slowly: a straight line in the rows, corrected for each
//! size that was seen. The *speed* belongs to the machine and may change at any moment, for all sizes alike:
//! it is the median of what the last few batches took, compared with the shape. One batch that took five
//! times as long is no median; half of the machine gone is, after [`RECENT`]/2 batches.

use super::sizes;
use super::spread::Spread;
use crate::buckets::Buckets;

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
/// Batches of one size that tell its time.
const WELL_KNOWN: f64 = 10.0;
/// Batches whose cost per row is within this share of the cheapest are as good as the cheapest.
const AS_CHEAP: f64 = 1.01;

/// The time of a batch, from the moment that a worker takes it to the end of its execution, in nanoseconds,
/// as a function of its rows. Where batches are filled up to a bucket, that is the time of the bucket.
pub struct ServiceTimes {
    /// For the buckets, or else the sizes of [`sizes`], ascending; empty of meaning before the first batch.
    estimates: Box<[f64]>,
    sizes: Box<[Size]>,
    max_batch_size: usize,
    buckets: Buckets,
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
    /// Nothing known yet of batches of 1 to `max_batch_size` rows.
    pub fn new(max_batch_size: usize) -> Self {
        Self::in_buckets(max_batch_size, Buckets::default())
    }

    /// The same where batches are filled up to one of `buckets`, the largest of which is `max_batch_size`.
    pub fn in_buckets(max_batch_size: usize, buckets: Buckets) -> Self {
        let max_batch_size = max_batch_size.max(1);
        let count = if buckets.is_empty() { sizes::index(max_batch_size) + 1 } else { buckets.sizes().len() };
        Self {
            estimates: vec![0.0; count].into(),
            sizes: vec![Size { ratio: 1.0, weight: 0.0 }; count].into(),
            max_batch_size,
            buckets,
            line: Line::default(),
            recent: Recent::default(),
            spread: Spread::default(),
            cheap: 1,
        }
    }

    /// The same model before anything was known of it.
    pub fn unlearnt(&self) -> Self {
        Self::in_buckets(self.max_batch_size, self.buckets.clone())
    }

    /// The sizes that batches are filled up to.
    pub fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// Learns from a batch of so many rows that took so long.
    pub fn observe(&mut self, rows: usize, ns: u64) {
        let rows = self.computed(rows);
        let ns = ns.max(1) as f64;
        self.recent.push(rows, ns);
        self.learn_shape(rows, ns / self.speed_of_line());
        // After the batch counted for the shape too: the first batch of all has nothing else to go by.
        let speed = self.speed();
        if let Some((rows, ns)) = self.recent.middle() {
            self.spread.observe(ns / (self.shape(rows) * speed));
        }
        self.estimate_all(speed);
    }

    /// What a batch of so many rows takes as a rule, in ns; None before the first batch.
    pub fn estimate(&self, rows: usize) -> Option<f64> {
        if self.line.weight <= 0.0 {
            return None;
        }
        let rows = self.computed(rows);
        let index = self.index(rows);
        let above = self.estimates[index];
        let (size, size_below) = (self.size(index), if index > 0 { self.size(index - 1) } else { 0 });
        if rows == size {
            return Some(above);
        }
        let below = self.estimates[index - 1];
        Some(below + (above - below) * (rows - size_below) as f64 / (size - size_below) as f64)
    }

    /// The rows that are computed for a batch of so many rows.
    fn computed(&self, rows: usize) -> usize {
        self.buckets.padded(rows.clamp(1, self.max_batch_size))
    }

    /// The entry of so many computed rows in the tables.
    fn index(&self, rows: usize) -> usize {
        if self.buckets.is_empty() { sizes::index(rows) } else { self.buckets.index(rows) }
    }

    /// The rows of an entry of the tables.
    fn size(&self, index: usize) -> usize {
        match self.buckets.sizes().get(index) {
            Some(&bucket) => bucket,
            None => sizes::size(index).min(self.max_batch_size),
        }
    }

    /// The factor on the estimate within which so much of the batches stay (0 to 100 percent); never below 1.
    pub fn spread(&self, percentile: f64) -> f64 {
        self.spread.quantile(percentile)
    }

    /// The smallest batch whose cost per row is hardly above the cheapest one's; 1 before the first batch.
    pub fn cheap_size(&self) -> usize {
        self.cheap
    }

    /// The sizes of which enough batches were seen to tell their times.
    pub fn well_known(&self) -> usize {
        self.sizes.iter().filter(|size| size.weight >= WELL_KNOWN).count()
    }

    /// How the machine is now, as a factor on the shape. It is 1 while the shape itself is new.
    fn speed(&self) -> f64 {
        self.recent.median(|rows, ns| ns / self.shape(rows)).unwrap_or(1.0)
    }

    /// The same as the line takes it: where batches scatter widely, the line lies below the median. Were it given
    /// times at the median's speed, it would make all of them smaller, and so the shape, without end.
    fn speed_of_line(&self) -> f64 {
        self.recent.mean(|rows, ns| ns / self.shape(rows)).unwrap_or(1.0)
    }

    /// The time of so many rows at the speed 1.
    fn shape(&self, rows: usize) -> f64 {
        let size = self.sizes[self.index(rows)];
        let ratio = (size.ratio * size.weight + LINE_WEIGHT) / (size.weight + LINE_WEIGHT);
        self.line.at(rows as f64) * ratio
    }

    fn learn_shape(&mut self, rows: usize, ns: f64) {
        self.line.observe(rows as f64, ns);
        let ratio = ns / self.line.at(rows as f64);
        let index = self.index(rows);
        let size = &mut self.sizes[index];
        size.weight = (size.weight + 1.0).min(MOST_WEIGHT);
        size.ratio += (ratio.clamp(*BELIEVABLE.start(), *BELIEVABLE.end()) - size.ratio) / size.weight;
    }

    fn estimate_all(&mut self, speed: f64) {
        let mut longest = 0.0_f64;
        let mut cheapest = f64::INFINITY;
        for index in 0..self.estimates.len() {
            let rows = self.size(index);
            // More rows never take less time: what looks so is noise.
            longest = longest.max(self.shape(rows) * speed);
            self.estimates[index] = longest;
            cheapest = cheapest.min(longest / rows as f64);
        }
        let cheap = (0..self.estimates.len())
            .find(|&index| self.estimates[index] <= cheapest * AS_CHEAP * self.size(index) as f64);
        self.cheap = cheap.map_or(1, |index| self.size(index));
    }
}

/// A straight line through times that grow with the rows. Squares of relative errors are least, so that a
/// batch that took five times as long weighs little, and a large batch no more than a small one.
#[derive(Default)]
struct Line {
    weight: f64,
    rows: f64,
    rows_squared: f64,
    ns: f64,
    rows_ns: f64,
    count: f64,
    fixed: f64,
    each: f64,
}

impl Line {
    fn at(&self, rows: f64) -> f64 {
        self.fixed + self.each * rows
    }

    fn observe(&mut self, rows: f64, ns: f64) {
        let weight = 1.0 / (ns * ns);
        for (sum, value) in [
            (&mut self.weight, weight),
            (&mut self.rows, weight * rows),
            (&mut self.rows_squared, weight * rows * rows),
            (&mut self.ns, weight * ns),
            (&mut self.rows_ns, weight * rows * ns),
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
        for sum in [&mut self.weight, &mut self.rows, &mut self.rows_squared] {
            *sum /= factor * factor;
        }
        for sum in [&mut self.ns, &mut self.rows_ns] {
            *sum /= factor;
        }
    }

    fn fit(&mut self) {
        let (mean_rows, mean_ns) = (self.rows / self.weight, self.ns / self.weight);
        // The assumption is one more point of the line: half of the mean time, at no rows.
        let assumed_weight = ASSUMED * self.weight / self.count;
        let assumed_ns = mean_ns / 2.0;
        let weight = self.weight + assumed_weight;
        let ns = self.ns + assumed_weight * assumed_ns;
        let determinant = weight * self.rows_squared - self.rows * self.rows;
        let each = (weight * self.rows_ns - self.rows * ns) / determinant;
        // Neither part of a time is negative. The line then goes through the mean with the other part alone.
        self.each = each.clamp(0.0, mean_ns / mean_rows);
        self.fixed = (ns - self.each * self.rows) / weight;
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
    fn push(&mut self, rows: usize, ns: f64) {
        self.batches[self.seen % RECENT] = (rows, ns);
        self.seen += 1;
    }

    /// The median of a value of the batches; None before there are enough.
    fn median(&self, value: impl Fn(usize, f64) -> f64) -> Option<f64> {
        if self.seen < RECENT {
            return None;
        }
        let mut values = self.batches.map(|(rows, ns)| value(rows, ns));
        let (_, &mut median, _) = values.select_nth_unstable_by(RECENT / 2, f64::total_cmp);
        Some(median)
    }

    /// The mean of a value of the batches as a [`Line`] makes it; None before there are enough.
    fn mean(&self, value: impl Fn(usize, f64) -> f64) -> Option<f64> {
        if self.seen < RECENT {
            return None;
        }
        let parts = self.batches.map(|(rows, ns)| 1.0 / value(rows, ns));
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
mod tests;
