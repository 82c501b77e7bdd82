//! The inputs that the backend makes for a ragged batch (`batch_input`): how many elements its requests have, or their shapes.

use crate::config::BatchInputKind;
use crate::few::Dims;
use crate::model::{BatchInput, Model};
use crate::tensorflow::{Tensor, TensorPool};
use crate::triton::{DataType, Error, Result};

/// What a batch input has: its shape and its elements, as they are in memory.
#[derive(Debug, PartialEq)]
struct Values {
    shape: Dims<i64>,
    /// Nothing where they are zeros.
    bytes: Option<Vec<u8>>,
}

/// Why there are no values, and the place in the batch of the request that is at fault.
type Fault = (usize, Error);

/// The tensor of an input that the backend makes; `shapes` are those that the requests have for its source.
///
/// # Errors
/// There is no memory; or `failed` has the place in the batch of a request with which there is no such input.
pub fn tensor<'s>(
    model: &Model,
    input: &BatchInput,
    pool: &TensorPool,
    shapes: impl Iterator<Item = &'s [i64]> + Clone,
    failed: &mut Option<usize>,
) -> Result<Box<Tensor>> {
    let in_context = |error: Error| error.context(format!("model '{}', input '{}'", model.name, input.name));
    let values = values(input.kind, input.datatype, shapes, model.max_batch_size);
    let Values { shape, bytes } = values.map_err(|(place, error)| {
        *failed = Some(place);
        in_context(error)
    })?;
    let tensor = match bytes {
        None => Tensor::zeroed(input.datatype, &shape).map(Box::new),
        Some(bytes) => pool.take(input.datatype, &shape).and_then(|mut blank| {
            blank.append(&bytes[..])?;
            blank.finish()
        }),
    };
    tensor.map_err(in_context)
}

/// The values of a batch input, made from the shapes of the requests, their batch dimensions included.
fn values<'s>(
    kind: BatchInputKind,
    datatype: DataType,
    shapes: impl Iterator<Item = &'s [i64]> + Clone,
    max_batch_size: usize,
) -> std::result::Result<Values, Fault> {
    let mut numbers = Numbers { datatype, bytes: Vec::new() };
    let counted =
        || shapes.clone().enumerate().map(|(place, shape)| Ok::<_, Fault>((place, elements(place, shape)?)));
    let shape = match kind {
        BatchInputKind::ElementCount => {
            for counted in counted() {
                let (place, count) = counted?;
                numbers.push(place, count, "elements of the request")?;
            }
            numbers.len()
        }
        BatchInputKind::AccumulatedElementCount | BatchInputKind::AccumulatedElementCountWithZero => {
            if kind == BatchInputKind::AccumulatedElementCountWithZero {
                numbers.push(0, 0, "elements")?;
            }
            let mut all: i64 = 0;
            for counted in counted() {
                let (place, count) = counted?;
                all = all.checked_add(count).ok_or_else(|| (place, too_many()))?;
                numbers.push(place, all, "elements of the batch up to this request")?;
            }
            numbers.len()
        }
        BatchInputKind::MaxElementCountAsShape => {
            let mut most = 0;
            for counted in counted() {
                most = most.max(counted?.1);
            }
            return Ok(Values { shape: Dims::from_slice(&[most]), bytes: None });
        }
        BatchInputKind::ItemShape | BatchInputKind::ItemShapeFlatten => {
            let (mut all_rows, mut rank) = (0, 0);
            for (place, shape) in shapes.enumerate() {
                let Some((&rows, item)) = shape.split_first() else { continue };
                // The server rejects such a request. Rows without elements cost a client nothing, and so many here.
                if rows > max_batch_size as i64 {
                    return Err((place, too_many_rows(rows, max_batch_size)));
                }
                for _ in 0..rows {
                    for &dim in item {
                        numbers.push(place, dim, "as a dimension of the request's shape")?;
                    }
                }
                all_rows += rows;
                rank = item.len() as i64;
            }
            if kind == BatchInputKind::ItemShape {
                Dims::from_slice(&[all_rows, rank])
            } else {
                numbers.len()
            }
        }
    };
    Ok(Values { shape, bytes: Some(numbers.bytes) })
}

/// The elements of a request.
fn elements(place: usize, shape: &[i64]) -> std::result::Result<i64, Fault> {
    // In other orders the product may overflow before the 0 comes.
    if shape.contains(&0) {
        return Ok(0);
    }
    let product = shape.iter().try_fold(1_i64, |product, &dim| product.checked_mul(dim));
    product.ok_or_else(|| (place, too_many()))
}

/// Numbers as they are in a tensor's memory.
struct Numbers {
    datatype: DataType,
    bytes: Vec<u8>,
}

impl Numbers {
    fn push(&mut self, place: usize, number: i64, of: &str) -> std::result::Result<(), Fault> {
        let bytes = match self.datatype {
            // From 2^24 on these are rounded, as the operator has chosen.
            DataType::Fp32 => (number as f32).to_ne_bytes(),
            _ => i32::try_from(number).map_err(|_| (place, no_int32(number, of)))?.to_ne_bytes(),
        };
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    /// The shape of all of them in one dimension.
    fn len(&self) -> Dims<i64> {
        Dims::from_slice(&[(self.bytes.len() / self.datatype.byte_size()) as i64])
    }
}

fn no_int32(number: i64, of: &str) -> Error {
    Error::invalid(format!(
        "expected at most {}, the largest INT32, found {number} {of}: send fewer elements, or set a smaller max_batch_size",
        i32::MAX
    ))
}

fn too_many() -> Error {
    Error::invalid("expected less than 2^63 elements in a batch, found more: send fewer")
}

fn too_many_rows(rows: i64, max_batch_size: usize) -> Error {
    Error::invalid(format!(
        "expected at most {max_batch_size} rows, the max_batch_size, found {rows}: send fewer"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use BatchInputKind::*;

    fn of(kind: BatchInputKind, datatype: DataType, shapes: &[&[i64]]) -> std::result::Result<Values, Fault> {
        values(kind, datatype, shapes.iter().copied(), 8)
    }

    /// The shape and the values of INT32.
    fn ints(kind: BatchInputKind, shapes: &[&[i64]]) -> (Vec<i64>, Vec<i32>) {
        let values = of(kind, DataType::Int32, shapes).unwrap();
        let bytes = values.bytes.unwrap();
        let ints = bytes.chunks_exact(4).map(|bytes| i32::from_ne_bytes(bytes.try_into().unwrap()));
        (values.shape.to_vec(), ints.collect())
    }

    #[test]
    fn element_counts_are_those_of_whole_requests() {
        let shapes: &[&[i64]] = &[&[1, 3], &[2, 2], &[1, 0], &[3, 1]];
        assert_eq!(ints(ElementCount, shapes), (vec![4], vec![3, 4, 0, 3]));
        assert_eq!(ints(AccumulatedElementCount, shapes), (vec![4], vec![3, 7, 7, 10]));
        assert_eq!(ints(AccumulatedElementCountWithZero, shapes), (vec![5], vec![0, 3, 7, 7, 10]));
        let largest = of(MaxElementCountAsShape, DataType::Int32, shapes).unwrap();
        assert_eq!(largest, Values { shape: Dims::from_slice(&[4]), bytes: None });
        let nothing = of(MaxElementCountAsShape, DataType::Fp32, &[&[1, 0]]).unwrap();
        assert_eq!(nothing.shape[..], [0]);
    }

    #[test]
    fn a_shape_is_there_once_for_each_row() {
        let shapes: &[&[i64]] = &[&[2, 3, 1], &[1, 2, 2], &[1, 0, 7]];
        let values = vec![3, 1, 3, 1, 2, 2, 0, 7];
        assert_eq!(ints(ItemShape, shapes), (vec![4, 2], values.clone()));
        assert_eq!(ints(ItemShapeFlatten, shapes), (vec![8], values));
        // What has no other dimensions has rows of none.
        assert_eq!(ints(ItemShape, &[&[2], &[1]]), (vec![3, 0], vec![]));
        assert_eq!(ints(ItemShape, &[&[0, 5], &[1, 5]]), (vec![1, 1], vec![5]));
    }

    #[test]
    fn the_type_is_the_configurations() {
        let values = of(AccumulatedElementCountWithZero, DataType::Fp32, &[&[1, 3], &[1, 1 << 30]]).unwrap();
        let floats = [0.0_f32, 3.0, 1_073_741_827.0].map(f32::to_ne_bytes).concat();
        assert_eq!(values, Values { shape: Dims::from_slice(&[3]), bytes: Some(floats) });
    }

    #[test]
    fn what_no_int32_can_be_is_the_fault_of_one_request() {
        let most = i64::from(i32::MAX);
        for kind in [ElementCount, AccumulatedElementCount, AccumulatedElementCountWithZero, ItemShape] {
            assert!(ints(kind, &[&[1, most]]).1.contains(&i32::MAX));
            let (place, error) = of(kind, DataType::Int32, &[&[1, 1], &[1, most + 1], &[1, 1]]).unwrap_err();
            assert_eq!(place, 1);
            assert!(
                error.message.contains("at most 2147483647, the largest INT32, found 214748364"),
                "{error}"
            );
            assert!(of(kind, DataType::Fp32, &[&[1, 1], &[1, most + 1]]).is_ok());
        }
        let (place, error) =
            of(AccumulatedElementCount, DataType::Int32, &[&[1, most], &[1, 0], &[1, 1]]).unwrap_err();
        assert!(place == 2 && error.message.contains("of the batch"), "{error}");
        // It is a shape, which may be larger.
        assert!(of(MaxElementCountAsShape, DataType::Int32, &[&[1, most + 1]]).is_ok());
        let (place, error) = of(ItemShape, DataType::Int32, &[&[1, 0, most + 1]]).unwrap_err();
        assert!(place == 0 && error.message.contains("dimension of the request's shape"), "{error}");
    }

    #[test]
    fn nothing_overflows() {
        for kind in [ElementCount, AccumulatedElementCount, MaxElementCountAsShape] {
            assert_eq!(of(kind, DataType::Fp32, &[&[1, 1], &[i64::MAX, 2]]).unwrap_err().0, 1);
            assert!(of(kind, DataType::Fp32, &[&[i64::MAX, i64::MAX, 0]]).is_ok());
        }
        let (place, _) = of(AccumulatedElementCount, DataType::Fp32, &[&[i64::MAX], &[1]]).unwrap_err();
        assert_eq!(place, 1);
        for kind in [ItemShape, ItemShapeFlatten] {
            assert_eq!(of(kind, DataType::Fp32, &[&[8, 0], &[i64::MAX, 0]]).unwrap_err().0, 1);
        }
    }
}
