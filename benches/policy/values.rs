//! What the states of the solver are worth.

use crate::chain::Chain;

/// A value for each phase, number waiting, age of the oldest and age of the youngest. The last is a share of the
/// former, from 0 on in steps of 1 / [`LAYERS`]; it is above 0 only where the last ones that came were refused.
#[derive(Clone)]
pub struct Values {
    layers: usize,
    lengths: usize,
    pub ages: usize,
    pub values: Vec<f64>,
}

/// Of the youngest's age, where requests may be refused.
pub const LAYERS: usize = 4;

impl Values {
    pub fn new(chain: &Chain, layers: usize) -> Self {
        let (lengths, ages) = (chain.most + 1, chain.ages + 1);
        Self { layers, lengths, ages, values: vec![0.0; chain.phases * layers * lengths * ages] }
    }

    pub fn layers(&self) -> usize {
        self.layers
    }

    fn start(&self, phase: usize, layer: usize, waiting: usize) -> usize {
        ((phase * self.layers + layer) * self.lengths + waiting) * self.ages
    }

    pub fn index(&self, phase: usize, layer: usize, waiting: usize, age: usize) -> usize {
        self.start(phase, layer, waiting) + age
    }

    /// With the youngest of age 0.
    pub fn get(&self, phase: usize, waiting: usize, age: usize) -> f64 {
        self.values[self.index(phase, 0, waiting, age)]
    }

    pub fn row(&self, phase: usize, layer: usize, waiting: usize) -> &[f64] {
        &self.values[self.start(phase, layer, waiting)..][..self.ages]
    }

    pub fn row_mut(&mut self, phase: usize, layer: usize, waiting: usize) -> &mut [f64] {
        let start = self.start(phase, layer, waiting);
        &mut self.values[start..][..self.ages]
    }

    /// Between two shares of the youngest's age, which is none of the oldest's.
    pub fn at(&self, phase: usize, youngest: f64, waiting: usize, age: usize) -> f64 {
        let (layer, part) = self.layer(youngest);
        let low = self.values[self.index(phase, layer, waiting, age)];
        if part == 0.0 {
            return low;
        }
        low + part * (self.values[self.index(phase, layer + 1, waiting, age)] - low)
    }

    /// Between two ages too.
    pub fn between(&self, phase: usize, youngest: f64, waiting: usize, age: f64) -> f64 {
        let age = age.clamp(0.0, (self.ages - 1) as f64);
        let (whole, part) = (age as usize, age.fract());
        let low = self.at(phase, youngest, waiting, whole);
        low + part * (self.at(phase, youngest, waiting, (whole + 1).min(self.ages - 1)) - low)
    }

    fn layer(&self, youngest: f64) -> (usize, f64) {
        let place = (youngest * LAYERS as f64).clamp(0.0, (self.layers - 1) as f64);
        (place as usize, place.fract())
    }

    pub fn shift(&mut self, by: f64) {
        self.values.iter_mut().for_each(|value| *value += by);
    }
}
