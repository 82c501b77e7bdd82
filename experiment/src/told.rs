//! The energy that responses told.

/// A sum over responses. A request's energy is its share of what the device drew above idle while its batch ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Responses that carried a value.
    pub responses: u64,
    /// Their sum in microjoules.
    pub uj: i128,
    /// Responses that also said how much of the value was measured, and not estimated from earlier executions.
    pub rated: u64,
    /// The sum of these values, each times its percentage.
    measured_uj_percent: i128,
    /// The sum of these values.
    rated_uj: i128,
}

impl Told {
    /// Adds a response: its energy in microjoules, and the percentage of it that was measured.
    pub fn record(&mut self, uj: i64, measured_percent: Option<i64>) {
        self.responses += 1;
        self.uj += i128::from(uj);
        if let Some(percent) = measured_percent {
            self.rated += 1;
            self.rated_uj += i128::from(uj);
            self.measured_uj_percent += i128::from(uj) * i128::from(percent);
        }
    }

    /// Adds all responses of another sum.
    pub fn add(&mut self, other: &Self) {
        self.responses += other.responses;
        self.uj += other.uj;
        self.rated += other.rated;
        self.measured_uj_percent += other.measured_uj_percent;
        self.rated_uj += other.rated_uj;
    }

    /// The sum in joules; none without values.
    pub fn joules(&self) -> Option<f64> {
        (self.responses > 0).then(|| self.uj as f64 / 1e6)
    }

    /// The fraction of the energy that was measured, 0 to 1. None if a response did not say, or if there is no energy.
    pub fn measured_share(&self) -> Option<f64> {
        let all = self.responses > 0 && self.rated == self.responses && self.rated_uj != 0;
        all.then(|| self.measured_uj_percent as f64 / self.rated_uj as f64 / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_and_the_share_counts_energy_not_responses() {
        let mut told = Told::default();
        assert_eq!((told.joules(), told.measured_share()), (None, None));
        told.record(3_000_000, Some(100));
        told.record(1_000_000, Some(0));
        assert_eq!((told.joules(), told.measured_share()), (Some(4.0), Some(0.75)));
        let mut more = Told::default();
        more.record(i64::MAX, Some(50));
        told.add(&more);
        told.add(&more);
        assert_eq!(told.uj, 4_000_000 + 2 * i128::from(i64::MAX));
        assert_eq!(told.responses, 4);
    }

    #[test]
    fn a_response_without_the_percentage_leaves_the_share_unknown() {
        let mut told = Told::default();
        told.record(5, Some(100));
        told.record(5, None);
        assert_eq!((told.joules(), told.measured_share()), (Some(1e-5), None));
    }

    #[test]
    fn no_energy_is_zero_joules_and_has_no_share() {
        let mut told = Told::default();
        told.record(0, Some(0));
        assert_eq!((told.joules(), told.measured_share()), (Some(0.0), None));
        // Of a meter that is wrong: taken as it is.
        told.record(-7, Some(100));
        assert_eq!(told.uj, -7);
    }
}
