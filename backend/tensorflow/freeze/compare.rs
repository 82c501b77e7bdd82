//! Whether two answers to the same input are the same, but for rounding.

use crate::tensorflow::proto::graph::{AttrValue, GraphDef};
use crate::tensorflow::tensor::Tensor;
use crate::tensorflow::types;
use crate::triton::DataType;

/// Integers, booleans and strings have to be equal, except for one in so many: where the model rounds, compares or takes the largest,
/// a sum that is rounded otherwise can fall on the other side. A single class is not excepted; for it to change, two scores
/// have to be equal to about six digits.
const EXCEPT_ONE_IN: usize = 100;

/// A difference that is none beside inputs below 1: ten roundings of FP32 (2^-24 each), as where equal sums are subtracted.
const ABSOLUTE: f64 = 1e-6;

/// How much of an output's largest value its values may differ by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance(f64);

impl Tolerance {
    /// For a graph that computes in BF16, which rounds by 2^-9.
    pub const BF16: Self = Self(0.1);
    /// FP16 rounds by 2^-12.
    const FP16: Self = Self(0.02);
    /// FP32 rounds by 2^-24. The sums of a deep model differ by some hundred times that; an error of a constant is larger.
    const FP32: Self = Self(1e-3);
    /// FP64 rounds by 2^-53.
    const FP64: Self = Self(1e-9);

    /// What the coarsest type in which a graph computes needs.
    pub fn of(graph: &GraphDef) -> Self {
        let functions = graph.library.iter().flat_map(|library| &library.function);
        let nodes = || graph.node.iter().chain(functions.clone().flat_map(|function| &function.node_def));
        let has = |datatype| {
            let attribute = AttrValue::of_type(types::number(datatype));
            nodes().any(|node| node.attr.values().any(|value| *value == attribute))
        };
        let tolerances =
            [(DataType::Bf16, Self::BF16), (DataType::Fp16, Self::FP16), (DataType::Fp32, Self::FP32)];
        let found = tolerances.into_iter().find(|(datatype, _)| has(*datatype));
        found.map_or(Self::FP64, |(_, tolerance)| tolerance)
    }
}

/// The largest difference of two answers, as a part of the largest value that was expected; 0 for integers, booleans and
/// strings.
///
/// # Errors
/// They are not the same; how they differ.
pub fn compare(expected: &Tensor, found: &Tensor, tolerance: Tolerance) -> Result<f64, String> {
    if (expected.datatype(), expected.dims()) != (found.datatype(), found.dims()) {
        let [expected, found] =
            [expected, found].map(|tensor| format!("{} {:?}", tensor.datatype(), tensor.dims()));
        return Err(format!("expected {expected}, found {found}"));
    }
    if expected.datatype() == DataType::Bytes {
        return compare_each(expected.strings(), found.strings(), "strings");
    }
    let (values, bytes) = (expected.bytes(), found.bytes());
    match numbers(expected.datatype(), values).zip(numbers(found.datatype(), bytes)) {
        Some((expected, found)) => compare_numbers(&expected, &found, tolerance),
        None => {
            let size = expected.datatype().byte_size();
            compare_each(values.chunks_exact(size), bytes.chunks_exact(size), "integers or booleans")
        }
    }
}

fn compare_numbers(expected: &[f64], found: &[f64], Tolerance(tolerance): Tolerance) -> Result<f64, String> {
    let largest =
        expected.iter().filter(|value| value.is_finite()).fold(0.0_f64, |most, value| most.max(value.abs()));
    let bound = tolerance * largest + ABSOLUTE;
    let is_same = |(&a, &b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= bound;
    let others = expected.iter().zip(found).filter(|pair| !is_same(*pair)).count();
    if let Some(first) = expected.iter().zip(found).position(|pair| !is_same(pair)) {
        return Err(format!(
            "{others} of {} values differ by more than {bound:.1e}; at index {first}, expected {}, found {}",
            expected.len(),
            expected[first],
            found[first]
        ));
    }
    let most =
        expected.iter().zip(found).map(|(a, b)| (a - b).abs()).filter(|difference| difference.is_finite());
    Ok(if largest > 0.0 { most.fold(0.0, f64::max) / largest } else { 0.0 })
}

fn compare_each<'v>(
    expected: impl ExactSizeIterator<Item = &'v [u8]>,
    found: impl Iterator<Item = &'v [u8]>,
    kind: &str,
) -> Result<f64, String> {
    let count = expected.len();
    let others = expected.zip(found).filter(|(expected, found)| expected != found).count();
    if others > count / EXCEPT_ONE_IN {
        return Err(format!("{others} of {count} {kind} differ"));
    }
    Ok(0.0)
}

/// The values of a tensor of floating-point numbers.
fn numbers(datatype: DataType, bytes: &[u8]) -> Option<Vec<f64>> {
    let numbers = match datatype {
        DataType::Fp64 => bytes.as_chunks().0.iter().map(|&value| f64::from_ne_bytes(value)).collect(),
        DataType::Fp32 => bytes.as_chunks().0.iter().map(|&value| f32::from_ne_bytes(value).into()).collect(),
        DataType::Bf16 => {
            let wide = |value: u16| f32::from_bits(u32::from(value) << 16);
            bytes.as_chunks().0.iter().map(|&value| wide(u16::from_ne_bytes(value)).into()).collect()
        }
        DataType::Fp16 => bytes.as_chunks().0.iter().map(|&value| half(u16::from_ne_bytes(value))).collect(),
        _ => return None,
    };
    Some(numbers)
}

/// The value of a half-precision number: a sign, five bits of exponent, ten of fraction.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff) / 1024.0);
    let value = match exponent {
        0 => fraction * 2.0_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction) * 2.0_f64.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensorflow::proto::graph::{FunctionDef, FunctionDefLibrary, NodeDef};

    fn numbers_differ(expected: &[f64], found: &[f64]) -> bool {
        compare_numbers(expected, found, Tolerance::FP32).is_err()
    }

    #[test]
    fn numbers_may_differ_by_rounding() {
        let (nan, infinity) = (f64::NAN, f64::INFINITY);
        assert_eq!(compare_numbers(&[100.0, 1.0], &[100.0, 1.0625], Tolerance::FP32), Ok(0.0625 / 100.0));
        assert!(!numbers_differ(&[nan, infinity, 1.0], &[nan, infinity, 1.0]));
        assert!(!numbers_differ(&[0.0, 0.0], &[1e-7, 0.0]), "equal sums were subtracted");
        for (expected, found) in [
            ([100.0, 1.0], [100.0, 1.2]),
            ([nan, 1.0], [0.0, 1.0]),
            ([0.0, 1.0], [nan, 1.0]),
            ([infinity, 1.0], [-infinity, 1.0]),
            ([infinity, 1.0], [1e30, 1.0]),
            ([0.0, 0.0], [1e-5, 0.0]),
        ] {
            assert!(numbers_differ(&expected, &found), "{expected:?} {found:?}");
        }
        let told = compare_numbers(&[1.0, 2.0, 3.0], &[1.0, 2.5, 4.0], Tolerance::FP32).unwrap_err();
        assert_eq!(told, "2 of 3 values differ by more than 3.0e-3; at index 1, expected 2, found 2.5");
    }

    #[test]
    fn of_integers_one_in_a_hundred_may_differ() {
        let other = |count: usize, others: usize| {
            let found: Vec<u8> = (0..count).flat_map(|index| [0, u8::from(index < others)]).collect();
            compare_each(vec![0; 2 * count].chunks_exact(2), found.chunks_exact(2), "integers or booleans")
        };
        assert!(other(1, 0).is_ok() && other(200, 2).is_ok());
        assert_eq!(other(1, 1).unwrap_err(), "1 of 1 integers or booleans differ");
        assert!(other(99, 1).is_err() && other(200, 3).is_err());
    }

    #[test]
    fn halves_are_what_they_say() {
        let known =
            [(0x0000, 0.0), (0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 2.0_f64.powi(-24))];
        for (bits, value) in known {
            assert_eq!(half(bits), value);
        }
        assert_eq!(half(0xfc00), f64::NEG_INFINITY);
        assert!(half(0x7e00).is_nan());
        assert_eq!(numbers(DataType::Bf16, &0x3fc0_u16.to_ne_bytes()), Some(vec![1.5]));
        assert_eq!(numbers(DataType::Int32, &[0; 4]), None);
    }

    #[test]
    fn the_coarsest_type_decides() {
        let node = |datatype| {
            let attr = [("T".to_string(), AttrValue::of_type(types::number(datatype)))].into();
            NodeDef { attr, ..NodeDef::default() }
        };
        let mut graph = GraphDef { node: vec![node(DataType::Fp64)], ..GraphDef::default() };
        assert_eq!(Tolerance::of(&graph), Tolerance::FP64);
        graph.node.push(node(DataType::Fp32));
        assert_eq!(Tolerance::of(&graph), Tolerance::FP32);
        let function = FunctionDef { node_def: vec![node(DataType::Bf16)], ..FunctionDef::default() };
        graph.library = Some(FunctionDefLibrary { function: vec![function] });
        assert_eq!(Tolerance::of(&graph), Tolerance::BF16);
    }
}
