//! Random values for a model's inputs. They are the same at each load, so that a difference that was found is found again.

use crate::tensorflow::strings::Strings;
use crate::tensorflow::tensor::{Blank, Tensor, byte_size};
use crate::triton::{DataType, Result};

/// Which values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Floating-point numbers from 0 to 1; integers from 0 to 3, which most tables have rows for, and strings of such
    /// a digit; bytes of any value, as pictures have them.
    Any,
    /// The same numbers; integers and booleans are 1, and so are strings.
    Harmless,
}

/// Numbers in an order that looks random (SplitMix64).
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        Self(1)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1, without 1, a multiple of 2^-24.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// A tensor of such values.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn tensor(&mut self, datatype: DataType, dims: &[i64], kind: Kind) -> Result<Tensor> {
        if datatype == DataType::Bytes {
            return self.digits(dims, kind);
        }
        let mut tensor = Blank::new(datatype, dims)?;
        let size = datatype.byte_size();
        let bytes: Vec<u8> = (0..tensor.byte_size() / size)
            .flat_map(|_| self.value(datatype, kind).into_iter().take(size))
            .collect();
        tensor.append(&bytes[..])?;
        tensor.finish().map(|tensor| *tensor)
    }

    /// Strings that are such integers, of one digit.
    fn digits(&mut self, dims: &[i64], kind: Kind) -> Result<Tensor> {
        let datatype = DataType::Bytes;
        let count = byte_size(datatype, dims).map_or(0, |bytes| bytes / datatype.byte_size());
        let digit = |_| [1, 0, 0, 0, b'0' + self.value(DataType::Int8, kind)[0]];
        let digits: Vec<u8> = (0..count).flat_map(digit).collect();
        let mut strings = Strings::new(count, digits.len())?;
        strings.append(count, &digits[..], false)?;
        Tensor::of_strings(dims, strings)
    }

    /// A value as it is in memory, and what is behind it. Of strings there are [`Self::digits`].
    fn value(&mut self, datatype: DataType, kind: Kind) -> [u8; 8] {
        fn front<const N: usize>(bytes: [u8; N]) -> [u8; 8] {
            std::array::from_fn(|index| bytes.get(index).copied().unwrap_or(0))
        }
        let mut whole = |most: u64| if kind == Kind::Harmless { 1 } else { self.next() % (most + 1) };
        match datatype {
            DataType::Fp64 => front(f64::from(self.unit()).to_ne_bytes()),
            DataType::Fp32 => front(self.unit().to_ne_bytes()),
            // The upper half of the FP32 number that it is.
            DataType::Bf16 => front(((self.unit().to_bits() >> 16) as u16).to_ne_bytes()),
            // Five exponents below that of 1, and any fraction: from 1/32 to 1.
            DataType::Fp16 => {
                let bits = self.next();
                front(((10 + (bits % 5) as u16) << 10 | (bits >> 54) as u16).to_ne_bytes())
            }
            DataType::Bool => front((whole(1) as u8).to_ne_bytes()),
            DataType::UInt8 => front((whole(255) as u8).to_ne_bytes()),
            DataType::Int8 => front((whole(3) as u8).to_ne_bytes()),
            DataType::Int16 | DataType::UInt16 => front((whole(3) as u16).to_ne_bytes()),
            DataType::Int32 | DataType::UInt32 => front((whole(3) as u32).to_ne_bytes()),
            DataType::Int64 | DataType::UInt64 => front(whole(3).to_ne_bytes()),
            DataType::Bytes => [0; 8],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_their_ranges() {
        let mut random = Random::new();
        for _ in 0..1000 {
            let mut value = |datatype, kind| random.value(datatype, kind);
            let [a, b, c, d, ..] = value(DataType::Fp32, Kind::Any);
            assert!((0.0..1.0).contains(&f32::from_ne_bytes([a, b, c, d])));
            assert!((0.0..1.0).contains(&f64::from_ne_bytes(value(DataType::Fp64, Kind::Any))));
            let [a, b, ..] = value(DataType::Bf16, Kind::Any);
            assert!((0.0..1.0).contains(&f32::from_bits(u32::from(u16::from_ne_bytes([a, b])) << 16)));
            let [a, b, ..] = value(DataType::Fp16, Kind::Any);
            // 1/32 and 1 are 0x2800 and 0x3c00.
            assert!((0x2800..0x3c00).contains(&u16::from_ne_bytes([a, b])));
            assert!(i64::from_ne_bytes(value(DataType::Int64, Kind::Any)) <= 3);
            assert!(value(DataType::Bool, Kind::Any)[0] <= 1);
            assert_eq!(u64::from_ne_bytes(value(DataType::UInt64, Kind::Harmless)), 1);
        }
    }

    #[test]
    fn all_values_occur_and_each_time_the_same() {
        let values = || {
            let mut random = Random::new();
            (0..64).map(|_| random.value(DataType::Int8, Kind::Any)[0]).collect::<Vec<u8>>()
        };
        assert_eq!(values(), values());
        assert!((0..4).all(|value| values().contains(&value)));
    }
}
