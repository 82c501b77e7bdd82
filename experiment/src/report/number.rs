//! Numbers for people: three significant digits, units that fit.

/// The text for a value that was not measured.
pub const ABSENT: &str = "–";

/// With this number of decimals, and commas between thousands.
pub fn grouped(value: f64, decimals: usize) -> String {
    let digits = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut text = String::new();
    if value < 0.0 && digits.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        text.push('−');
    }
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction.strip_suffix('.').unwrap_or(fraction)
}

/// A count, in full.
pub fn count(value: u64) -> String {
    grouped(value as f64, 0)
}

/// Three significant digits, without zeros at the end of a fraction.
pub fn significant(value: f64) -> String {
    if !value.is_finite() {
        return ABSENT.into();
    }
    if value == 0.0 {
        return "0".into();
    }
    // Rounded first: 9.996 has one digit before the point, 10.0 has two.
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    let exponent = rounded.abs().log10().floor() as i32;
    if exponent < -4 {
        return format!("{rounded:e}").replace('-', "−");
    }
    let text = grouped(rounded, (2 - exponent).max(0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// [`significant`], always with three digits, for columns.
pub fn three(value: f64) -> String {
    if !value.is_finite() || value == 0.0 || value.abs() < 1e-4 {
        return significant(value);
    }
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    grouped(rounded, (2 - rounded.abs().log10().floor() as i32).max(0) as usize)
}

/// [`three`], or [`ABSENT`].
pub fn or_absent(value: Option<f64>) -> String {
    value.map_or_else(|| ABSENT.into(), three)
}

/// A value with its error, which has two significant digits and gives the value its last one; [`ABSENT`] without a value.
pub fn with_error(value: f64, error: Option<f64>) -> String {
    let Some(error) = error.filter(|error| error.is_finite() && value.is_finite()) else {
        return three(value);
    };
    if error == 0.0 {
        return format!("{}\u{a0}±\u{a0}0", three(value));
    }
    // Rounded first: 0.00996 becomes 0.010, whose second digit is the third after the point.
    let rounded: f64 = format!("{error:.1e}").parse().unwrap_or(error);
    let decimals = (1 - rounded.log10().floor() as i32).clamp(0, 12) as usize;
    format!("{}\u{a0}±\u{a0}{}", grouped(value, decimals), grouped(rounded, decimals))
}

/// [`with_error`], or [`ABSENT`].
pub fn or_absent_with_error(value: Option<f64>, error: Option<f64>) -> String {
    value.map_or_else(|| ABSENT.into(), |value| with_error(value, error))
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeUnit {
    /// Its symbol.
    pub name: &'static str,
    /// Its length in nanoseconds.
    pub ns: f64,
}

impl TimeUnit {
    /// The largest unit that is not longer than a time.
    pub fn of(ns: f64) -> Self {
        const UNITS: [TimeUnit; 3] = [
            TimeUnit { name: "s", ns: 1e9 },
            TimeUnit { name: "ms", ns: 1e6 },
            TimeUnit { name: "µs", ns: 1e3 },
        ];
        // Half a per mille less, so that what rounds to 1.00 s is not written as 1,000 ms.
        let reached = |unit: &TimeUnit| ns.abs() >= unit.ns * 0.9995;
        UNITS.into_iter().find(reached).unwrap_or(TimeUnit { name: "ns", ns: 1.0 })
    }

    /// One unit for all the times of an axis: the one of the middle of its logarithmic range.
    pub fn for_range(times_ns: impl Iterator<Item = f64>) -> Self {
        let (low, high) = times_ns
            .filter(|t| *t > 0.0)
            .fold((f64::INFINITY, 0f64), |(low, high), t| (low.min(t), high.max(t)));
        if high == 0.0 { Self::of(1e6) } else { Self::of((low * high).sqrt()) }
    }
}

/// A time with its unit, on one line.
pub fn time(ns: f64) -> String {
    let unit = TimeUnit::of(ns);
    format!("{}\u{a0}{}", three(ns / unit.ns), unit.name)
}

/// A fraction of 0 to 1 as a percentage.
pub fn percent(share: f64) -> String {
    format!("{}\u{a0}%", significant(share * 100.0))
}

/// "1 point", "2 points".
pub fn plural(n: usize, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{} {thing}s", count(n as u64)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits() {
        for (value, text, padded) in [
            (0.0, "0", "0"),
            (1.0, "1", "1.00"),
            (9.996, "10", "10.0"),
            (0.012345, "0.0123", "0.0123"),
            (12345.0, "12,300", "12,300"),
            (-1234567.0, "−1,230,000", "−1,230,000"),
            (0.00001234, "1.23e−5", "1.23e−5"),
            (999.6, "1,000", "1,000"),
            (f64::NAN, "–", "–"),
            (f64::INFINITY, "–", "–"),
        ] {
            assert_eq!(significant(value), text);
            assert_eq!(three(value), padded);
        }
    }

    #[test]
    fn the_error_says_how_many_digits_count() {
        for (value, error, text) in [
            (149.234, Some(1.23), "149.2 ± 1.2"),
            (0.123_456, Some(0.00996), "0.123 ± 0.010"),
            (0.5, Some(0.0), "0.500 ± 0"),
            (1234.6, Some(987.0), "1,235 ± 990"),
            (-0.04, Some(3.0), "0.0 ± 3.0"),
            (-12.0, Some(3.0), "−12.0 ± 3.0"),
            (2.0, None, "2.00"),
            (2.0, Some(f64::NAN), "2.00"),
            (f64::NAN, Some(1.0), "–"),
        ] {
            assert_eq!(with_error(value, error).replace('\u{a0}', " "), text);
        }
        assert_eq!(or_absent_with_error(None, Some(1.0)), "–");
    }

    #[test]
    fn times_take_their_unit() {
        assert_eq!(time(850.0), "850\u{a0}ns");
        assert_eq!(time(81_234.0), "81.2\u{a0}µs");
        assert_eq!(time(2_000_000.0), "2.00\u{a0}ms");
        assert_eq!(time(999_999_999.0), "1.00\u{a0}s");
        assert_eq!(time(75e9), "75.0\u{a0}s");
        assert_eq!(TimeUnit::for_range([0.5e6, 400e6].into_iter()).name, "ms");
        assert_eq!(TimeUnit::for_range([80e3, 300e3].into_iter()).name, "µs");
    }

    #[test]
    fn counts_are_whole() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(12), "12");
        assert_eq!(plural(1, "point"), "1 point");
        assert_eq!(plural(1200, "point"), "1,200 points");
    }
}
