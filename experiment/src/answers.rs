//! Whether an answer is the expected one.

use half::{bf16, f16};

/// What the outputs of a request are expected to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// The outputs that are compared; others may have any contents.
    pub outputs: Vec<Output>,
    /// How far a number may be off: this, times the expected number where that is larger than 1. Integers, booleans and
    /// strings have to be equal.
    pub tolerance: f64,
}

/// An output, expected or received.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name in the model.
    pub name: String,
    /// The protocol's name, for example "FP32".
    pub datatype: String,
    /// With the batch dimension.
    pub shape: Vec<i64>,
    /// Little-endian and row-major; strings with their length in 4 bytes before them.
    pub bytes: Vec<u8>,
}

impl Expected {
    /// The first difference, in words; none if the answer is as expected.
    pub fn difference(&self, answer: &[Output]) -> Option<String> {
        self.outputs.iter().find_map(|expected| {
            let name = &expected.name;
            let Some(got) = answer.iter().find(|output| output.name == *name) else {
                return Some(format!("output '{name}': expected, but the response does not have it"));
            };
            if got.datatype != expected.datatype {
                return Some(format!(
                    "output '{name}': expected {}, got {}",
                    expected.datatype, got.datatype
                ));
            }
            if got.shape != expected.shape {
                return Some(format!(
                    "output '{name}': expected the shape {:?}, got {:?}",
                    expected.shape, got.shape
                ));
            }
            let different = match expected.datatype.as_str() {
                "BYTES" => of_strings(&expected.bytes, &got.bytes),
                datatype => of_numbers(datatype, &expected.bytes, &got.bytes, self.tolerance),
            };
            different.map(|Different { element, expected: wanted, got }| {
                let index = index(&expected.shape, element);
                format!("output '{name}' at {index:?}: expected {wanted}, got {got}")
            })
        })
    }
}

/// An element that differs.
struct Different {
    element: usize,
    expected: String,
    got: String,
}

fn of_numbers(datatype: &str, expected: &[u8], got: &[u8], tolerance: f64) -> Option<Different> {
    // Most answers are equal to the bit, and need no look at the elements.
    if expected == got {
        return None;
    }
    let size = match datatype {
        "BOOL" | "INT8" | "UINT8" => 1,
        "INT16" | "UINT16" | "FP16" | "BF16" => 2,
        "INT32" | "UINT32" | "FP32" => 4,
        _ => 8,
    };
    if expected.len() != got.len() {
        let words = |bytes: &[u8]| format!("{} bytes", bytes.len());
        return Some(Different { element: 0, expected: words(expected), got: words(got) });
    }
    let pairs = expected.chunks_exact(size).zip(got.chunks_exact(size)).enumerate();
    pairs.into_iter().find_map(|(element, (expected, got))| {
        let (wanted, found) = (number(datatype, expected), number(datatype, got));
        let equal = match (wanted, found) {
            (Number::Float(wanted), Number::Float(found)) => close(wanted, found, tolerance),
            _ => expected == got,
        };
        (!equal).then(|| Different { element, expected: wanted.to_string(), got: found.to_string() })
    })
}

/// Whether a float is the expected one. NaN is equal to NaN, and infinity to itself only.
fn close(expected: f64, got: f64, tolerance: f64) -> bool {
    if expected.is_nan() || got.is_nan() {
        return expected.is_nan() && got.is_nan();
    }
    expected == got || (expected - got).abs() <= tolerance * expected.abs().max(1.0) && expected.is_finite()
}

/// An element of a tensor.
#[derive(Clone, Copy)]
enum Number {
    Float(f64),
    Signed(i64),
    Unsigned(u64),
    Bool(bool),
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Float(value) => write!(f, "{value}"),
            Self::Signed(value) => write!(f, "{value}"),
            Self::Unsigned(value) => write!(f, "{value}"),
            Self::Bool(value) => write!(f, "{value}"),
        }
    }
}

/// `bytes` are as many as the datatype has.
fn number(datatype: &str, bytes: &[u8]) -> Number {
    fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.try_into().expect("the size of the datatype")
    }
    match datatype {
        "FP64" => Number::Float(f64::from_le_bytes(fixed(bytes))),
        "FP32" => Number::Float(f32::from_le_bytes(fixed(bytes)).into()),
        "FP16" => Number::Float(f16::from_le_bytes(fixed(bytes)).into()),
        "BF16" => Number::Float(bf16::from_le_bytes(fixed(bytes)).into()),
        "INT8" => Number::Signed(i8::from_le_bytes(fixed(bytes)).into()),
        "INT16" => Number::Signed(i16::from_le_bytes(fixed(bytes)).into()),
        "INT32" => Number::Signed(i32::from_le_bytes(fixed(bytes)).into()),
        "INT64" => Number::Signed(i64::from_le_bytes(fixed(bytes))),
        "UINT8" => Number::Unsigned(bytes[0].into()),
        "UINT16" => Number::Unsigned(u16::from_le_bytes(fixed(bytes)).into()),
        "UINT32" => Number::Unsigned(u32::from_le_bytes(fixed(bytes)).into()),
        "BOOL" => Number::Bool(bytes[0] != 0),
        _ => Number::Unsigned(u64::from_le_bytes(fixed(bytes))),
    }
}

/// Characters of a string that a message shows.
const SHOWN: usize = 60;

fn of_strings(expected: &[u8], got: &[u8]) -> Option<Different> {
    let shown = |text: Option<&[u8]>| match text {
        Some(text) => {
            let text = String::from_utf8_lossy(text);
            let more = if text.chars().count() > SHOWN { "..." } else { "" };
            format!("{:?}{more}", text.chars().take(SHOWN).collect::<String>())
        }
        None => "nothing".to_owned(),
    };
    let (mut expected, mut got) = (Strings(expected), Strings(got));
    (0..).find_map(|element| match (expected.next(), got.next()) {
        (None, None) => Some(None),
        (wanted, found) if wanted == found => None,
        (wanted, found) => Some(Some(Different { element, expected: shown(wanted), got: shown(found) })),
    })?
}

/// The elements of a tensor of strings. Ends where a length does not fit.
pub struct Strings<'a>(pub &'a [u8]);

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (text, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }
}

/// Where an element is in a tensor of this shape.
fn index(shape: &[i64], element: usize) -> Vec<usize> {
    let mut rest = element;
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&dim| {
            let dim = usize::try_from(dim).unwrap_or(1).max(1);
            let at = rest % dim;
            rest /= dim;
            at
        })
        .collect();
    index.reverse();
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(datatype: &str, shape: &[i64], bytes: Vec<u8>) -> Output {
        Output { name: "y".to_owned(), datatype: datatype.to_owned(), shape: shape.to_vec(), bytes }
    }

    fn floats(values: &[f32]) -> Output {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        output("FP32", &[2, values.len() as i64 / 2], bytes)
    }

    fn strings(values: &[&str]) -> Output {
        let element = |text: &&str| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
        output("BYTES", &[values.len() as i64], values.iter().flat_map(element).collect())
    }

    fn difference(expected: Output, got: Output) -> Option<String> {
        Expected { outputs: vec![expected], tolerance: 0.01 }.difference(&[got])
    }

    #[test]
    fn floats_may_be_off_by_the_tolerance() {
        let expected = [0.0, 1.0, 200.0, -200.0];
        assert_eq!(difference(floats(&expected), floats(&[0.009, 1.009, 201.9, -198.1])), None);
        let far = difference(floats(&expected), floats(&[0.0, 1.0, 202.5, -200.0]));
        assert_eq!(far.unwrap(), "output 'y' at [1, 0]: expected 200, got 202.5");
        let small = difference(floats(&expected), floats(&[0.0, 1.25, 200.0, -200.0]));
        assert_eq!(small.unwrap(), "output 'y' at [0, 1]: expected 1, got 1.25");
    }

    #[test]
    fn what_is_no_number_is_equal_to_itself_only() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0];
        assert_eq!(difference(floats(&odd), floats(&odd)), None);
        for (place, value) in
            [(0, 0.0), (1, f32::NEG_INFINITY), (1, f32::MAX), (2, f32::NAN), (3, f32::INFINITY)]
        {
            let mut got = odd;
            got[place] = value;
            assert!(difference(floats(&odd), floats(&got)).is_some(), "{place}: {value}");
        }
    }

    #[test]
    fn integers_and_strings_are_equal_or_not() {
        let integers = |values: &[i64]| {
            output(
                "INT64",
                &[values.len() as i64],
                values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            )
        };
        assert_eq!(difference(integers(&[1, -2]), integers(&[1, -2])), None);
        let off = difference(integers(&[1_000_000, -2]), integers(&[1_000_001, -2])).unwrap();
        assert_eq!(off, "output 'y' at [0]: expected 1000000, got 1000001");
        assert_eq!(difference(strings(&["a", ""]), strings(&["a", ""])), None);
        let text = difference(strings(&["a", "b\u{1b}"]), strings(&["a", "c"])).unwrap();
        assert_eq!(text, "output 'y' at [1]: expected \"b\\u{1b}\", got \"c\"");
        let flags = |values: &[u8]| output("BOOL", &[2], values.to_vec());
        let flag = difference(flags(&[1, 0]), flags(&[1, 1])).unwrap();
        assert_eq!(flag, "output 'y' at [1]: expected false, got true");
    }

    #[test]
    fn another_form_is_a_difference() {
        let expected = floats(&[1.0, 2.0]);
        let renamed = Output { name: "z".to_owned(), ..expected.clone() };
        assert!(difference(expected.clone(), renamed).unwrap().contains("does not have it"));
        let typed = Output { datatype: "INT32".to_owned(), ..expected.clone() };
        assert_eq!(difference(expected.clone(), typed).unwrap(), "output 'y': expected FP32, got INT32");
        let shaped = Output { shape: vec![1, 2], ..expected.clone() };
        let words = difference(expected.clone(), shaped).unwrap();
        assert_eq!(words, "output 'y': expected the shape [2, 1], got [1, 2]");
        let short = Output { bytes: vec![0; 4], ..expected.clone() };
        assert!(difference(expected, short).unwrap().contains("expected 8 bytes, got 4 bytes"));
        // A length that does not fit.
        let lying = Output { bytes: vec![255; 7], ..strings(&["a"]) };
        assert!(difference(strings(&["a"]), lying).unwrap().contains("expected \"a\", got nothing"));
    }
}
