//! Contents of input tensors.

use anyhow::{Context, Result};
use bytes::Bytes;
use half::{bf16, f16};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::arrivals::unit;
use crate::elements::element_size;

/// How a tensor is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Uniform random values: floating point in [0, 1), integers in [0, 128), booleans; strings are such integers in
    /// decimal.
    Random {
        /// The same seed gives the same tensor.
        seed: u64,
    },
    /// Zeros, false, empty strings.
    Zeros,
}

/// A tensor of this datatype (for example "FP32") and shape, with the batch dimension: little-endian and row-major, as in
/// a request.
///
/// # Errors
///
/// The datatype is unknown, or a dimension is variable (negative).
pub fn tensor(datatype: &str, shape: &[i64], fill: Fill) -> Result<Bytes> {
    let elements = elements(shape)?;
    let Some(size) = element_size(datatype)? else {
        return Ok(strings(elements, fill));
    };
    let byte_size = byte_size(elements, size)?;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(byte_size)
        .with_context(|| format!("shape {shape:?}: not enough memory for {byte_size} bytes"))?;
    bytes.resize(byte_size, 0);
    if let Fill::Random { seed } = fill {
        let random = &mut ChaCha8Rng::seed_from_u64(seed);
        for element in bytes.chunks_exact_mut(size) {
            match datatype {
                "FP64" => element.copy_from_slice(&unit(random).to_le_bytes()),
                "FP32" => element.copy_from_slice(&fraction(random, 24).to_le_bytes()),
                "FP16" => element.copy_from_slice(&f16::from_f32(fraction(random, 11)).to_le_bytes()),
                "BF16" => element.copy_from_slice(&bf16::from_f32(fraction(random, 8)).to_le_bytes()),
                "BOOL" => element[0] = (random.next_u32() >> 31) as u8,
                _ => element[0] = small(random),
            }
        }
    }
    Ok(bytes.into())
}

/// Size of a tensor in bytes; none for BYTES, where each element has its own size.
///
/// # Errors
///
/// The datatype is unknown, or a dimension is variable (negative).
pub fn tensor_size(datatype: &str, shape: &[i64]) -> Result<Option<usize>> {
    let elements = elements(shape)?;
    element_size(datatype)?.map(|size| byte_size(elements, size)).transpose()
}

fn byte_size(elements: usize, size: usize) -> Result<usize> {
    elements.checked_mul(size).context("a tensor larger than the memory")
}

/// Number of elements of a tensor of this shape.
///
/// # Errors
///
/// A dimension is variable (negative), or there are too many elements.
fn elements(shape: &[i64]) -> Result<usize> {
    shape
        .iter()
        .try_fold(1_usize, |elements, &dimension| elements.checked_mul(usize::try_from(dimension).ok()?))
        .with_context(|| {
            format!("shape {shape:?}: expected every dimension to be 0 or more, and not too large")
        })
}

/// Each preceded by its length, in 4 bytes.
fn strings(elements: usize, fill: Fill) -> Bytes {
    let mut random = match fill {
        Fill::Random { seed } => Some(ChaCha8Rng::seed_from_u64(seed)),
        Fill::Zeros => None,
    };
    let mut bytes = Vec::new();
    for _ in 0..elements {
        let text = random.as_mut().map(|random| small(random).to_string()).unwrap_or_default();
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes.into()
}

/// In [0, 128), the range that all integer types share.
fn small(random: &mut ChaCha8Rng) -> u8 {
    (random.next_u32() >> 25) as u8
}

/// In [0, 1), a multiple of 2^-`digits`: rounded to fewer digits, the largest would become 1.
fn fraction(random: &mut ChaCha8Rng, digits: u32) -> f32 {
    (random.next_u32() >> (32 - digits)) as f32 / (1_u32 << digits) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: Fill = Fill::Random { seed: 3 };

    #[test]
    fn floats_are_spread_over_the_unit_interval() {
        for (datatype, size) in [("FP64", 8), ("FP32", 4), ("FP16", 2), ("BF16", 2)] {
            let bytes = tensor(datatype, &[100, 100], RANDOM).unwrap();
            assert_eq!(bytes.len(), 10_000 * size, "{datatype}");
            let value = |b: &[u8]| match datatype {
                "FP64" => f64::from_le_bytes(b.try_into().unwrap()),
                "FP32" => f32::from_le_bytes(b.try_into().unwrap()).into(),
                "FP16" => f16::from_le_bytes(b.try_into().unwrap()).into(),
                _ => bf16::from_le_bytes(b.try_into().unwrap()).into(),
            };
            let values: Vec<f64> = bytes.chunks(size).map(value).collect();
            assert!(values.iter().all(|v| (0.0..1.0).contains(v)), "{datatype}");
            let mean = values.iter().sum::<f64>() / 1e4;
            assert!((mean - 0.5).abs() < 0.02, "{datatype}: mean {mean}");
        }
    }

    #[test]
    fn integers_are_small_and_little_endian() {
        for (datatype, size) in [("INT8", 1), ("UINT16", 2), ("INT32", 4), ("UINT64", 8)] {
            let bytes = tensor(datatype, &[1000], RANDOM).unwrap();
            assert_eq!(bytes.len(), 1000 * size);
            let largest = bytes.chunks(size).map(|element| element[0]).max();
            assert!(bytes.chunks(size).all(|element| element[1..].iter().all(|byte| *byte == 0)));
            assert!((100..128).contains(&largest.unwrap()), "{datatype}: {largest:?}");
        }
        let booleans = tensor("BOOL", &[1000], RANDOM).unwrap();
        let set = booleans.iter().map(|b| usize::from(*b)).sum::<usize>();
        assert!(booleans.iter().all(|b| *b <= 1) && (400..600).contains(&set), "{set}");
    }

    #[test]
    fn strings_have_their_length_before_them() {
        let bytes = tensor("BYTES", &[2, 5], RANDOM).unwrap();
        let (mut rest, mut texts) = (&bytes[..], 0);
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<4>().unwrap();
            let (text, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            assert!(std::str::from_utf8(text).unwrap().parse::<u8>().unwrap() < 128);
            (rest, texts) = (after, texts + 1);
        }
        assert_eq!(texts, 10);
        assert_eq!(tensor("BYTES", &[3], Fill::Zeros).unwrap(), vec![0; 12]);
    }

    #[test]
    fn seed_decides() {
        let make = |fill| tensor("FP32", &[1, 8], fill).unwrap();
        assert_eq!(make(RANDOM), make(RANDOM));
        assert_ne!(make(RANDOM), make(Fill::Random { seed: 4 }));
        assert_eq!(make(Fill::Zeros), vec![0; 32]);
        assert_eq!(tensor("FP32", &[], RANDOM).unwrap().len(), 4);
    }

    #[test]
    fn unknown_datatypes_and_dimensions_are_errors() {
        let datatype = format!("{:#}", tensor("FP8", &[1], RANDOM).unwrap_err());
        assert!(datatype.contains("\"FP8\": expected BOOL"), "{datatype}");
        let shape = format!("{:#}", tensor("FP32", &[1, -1], RANDOM).unwrap_err());
        assert!(shape.contains("[1, -1]: expected every dimension"), "{shape}");
    }
}
