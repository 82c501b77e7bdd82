//! The tensors that go in and out of a session.

use std::ops::Range;

use half::f16;
use tensorflow::{self as tf, BFloat16, FetchToken, SessionRunArgs, TensorType};

use super::{Endpoint, failure};
use crate::datatype::DataType;
use crate::triton::{Error, Result};

macro_rules! tensors {
    ($($kind:ident($element:ty)),* $(,)?) => {
        /// A tensor of TensorFlow's, of any type there is here.
        #[derive(Clone)]
        pub enum Tensor { $(#[allow(missing_docs)] $kind(tf::Tensor<$element>),)* }

        pub(super) fn datatype(datatype: tf::DataType) -> Option<DataType> {
            $(if datatype == <$element>::data_type() { return Some(DataType::$kind); })*
            None
        }

        impl Tensor {
            /// A tensor of zeros.
            pub fn new(datatype: DataType, dims: &[u64]) -> Self {
                match datatype { $(DataType::$kind => Self::$kind(tf::Tensor::new(dims)),)* }
            }

            /// The element type.
            pub fn datatype(&self) -> DataType {
                match self { $(Self::$kind(_) => DataType::$kind,)* }
            }

            /// The shape.
            pub fn dims(&self) -> &[u64] {
                match self { $(Self::$kind(tensor) => tensor.dims(),)* }
            }

            /// The bytes of its elements.
            pub fn byte_size(&self) -> usize {
                match self { $(Self::$kind(tensor) => size_of_val(&tensor[..]),)* }
            }

            /// Lets `fill` write the bytes of some of the elements.
            pub fn write(&mut self, elements: Range<usize>, fill: impl FnOnce(&mut [u8])) {
                match self { $(Self::$kind(tensor) => Element::write(&mut tensor[elements], fill),)* }
            }

            /// Lets `use_bytes` read the bytes of some of the elements.
            pub fn read(&self, elements: Range<usize>, use_bytes: impl FnOnce(&[u8])) {
                match self { $(Self::$kind(tensor) => Element::read(&tensor[elements], use_bytes),)* }
            }

            pub(super) fn feed<'a>(&'a self, args: &mut SessionRunArgs<'a>, to: &Endpoint) {
                match self {
                    $(Self::$kind(tensor) => args.add_feed(&to.operation, to.index, tensor),)*
                }
            }

            pub(super) fn fetch(args: &mut SessionRunArgs<'_>, token: FetchToken, from: &Endpoint) -> Result<Self> {
                let wrong = |e| failure(&format!("output '{}' cannot be read", from.name), &e);
                match from.datatype {
                    $(Some(DataType::$kind) => args.fetch(token).map(Self::$kind).map_err(wrong),)*
                    None => Err(Error::unsupported(format!("output '{}' is {}", from.name, from.type_name))),
                }
            }
        }
    };
}

tensors! {
    Bool(bool), UInt8(u8), UInt16(u16), UInt32(u32), UInt64(u64), Int8(i8), Int16(i16), Int32(i32),
    Int64(i64), Fp16(f16), Bf16(BFloat16), Fp32(f32), Fp64(f64),
}

/// An element that bytes can be read into and written from.
trait Element: Sized {
    fn write(elements: &mut [Self], fill: impl FnOnce(&mut [u8]));
    fn read(elements: &[Self], use_bytes: impl FnOnce(&[u8]));
}

/// Elements of which every bit pattern is one: their memory is the bytes.
macro_rules! plain_elements {
    ($($element:ty),*) => {$(
        impl Element for $element {
            fn write(elements: &mut [Self], fill: impl FnOnce(&mut [u8])) {
                fill(bytemuck::cast_slice_mut(elements));
            }
            fn read(elements: &[Self], use_bytes: impl FnOnce(&[u8])) {
                use_bytes(bytemuck::cast_slice(elements));
            }
        }
    )*};
}

plain_elements!(u8, u16, u32, u64, i8, i16, i32, i64, f16, f32, f64);

/// Not every byte is a `bool`: what is not 0 is true.
impl Element for bool {
    fn write(elements: &mut [Self], fill: impl FnOnce(&mut [u8])) {
        let mut bytes = vec![0; elements.len()];
        fill(&mut bytes);
        elements.iter_mut().zip(bytes).for_each(|(element, byte)| *element = byte != 0);
    }

    fn read(elements: &[Self], use_bytes: impl FnOnce(&[u8])) {
        use_bytes(bytemuck::cast_slice(elements));
    }
}

/// The crate keeps the bits of its `BFloat16` to itself, but they are the upper half of an `f32`, and
/// the way there and back is exact.
impl Element for BFloat16 {
    fn write(elements: &mut [Self], fill: impl FnOnce(&mut [u8])) {
        let mut halves = vec![0_u16; elements.len()];
        fill(bytemuck::cast_slice_mut(&mut halves));
        elements
            .iter_mut()
            .zip(halves)
            .for_each(|(element, half)| *element = f32::from_bits(u32::from(half) << 16).into());
    }

    fn read(elements: &[Self], use_bytes: impl FnOnce(&[u8])) {
        let halves: Vec<u16> =
            elements.iter().map(|&element| (f32::from(element).to_bits() >> 16) as u16).collect();
        use_bytes(bytemuck::cast_slice(&halves));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_survive_the_types_that_are_not_their_bytes() {
        let mut elements = [BFloat16::default(); 3];
        let bytes = [0x80, 0x3f, 0x01, 0xff, 0xc0, 0x7f];
        BFloat16::write(&mut elements, |target| target.copy_from_slice(&bytes));
        BFloat16::read(&elements, |source| assert_eq!(source, bytes));

        let mut flags = [false; 3];
        bool::write(&mut flags, |target| target.copy_from_slice(&[0, 1, 255]));
        bool::read(&flags, |source| assert_eq!(source, [0, 1, 1]));
    }
}
