//! The requests' input buffers become one batched tensor for each input of the model.
//!
//! They are copied into it once. A batch of one request whose input is a single, aligned buffer needs no copy: the
//! tensor borrows the request's memory ([`borrow`]). A batch that is smaller than its bucket is filled up with copies of its
//! last row. The tensor of a ragged input has the elements of all requests, whatever their shapes. From the memory of a GPU
//! buffers are copied by its driver, which may fail, and strings may turn out to be none: that request leaves the batch, and
//! the others are copied anew.
//!
//! One walk checks each input and notes its buffers in a flat list. What makes the messages of bad requests ([`super::misfits`])
//! is kept out of line: TensorFlow's run leaves little of this code in the processor's caches, so its size is what it costs.

use std::iter;

use smallvec::SmallVec;

use super::batch_inputs;
use super::misfits::{at_input, other_rows, other_shape, other_size, other_type, too_large, unfit_shape};
use super::scatter::{Share, Wanted};
use crate::few::{Dims, Few};
use crate::model::{BatchSize, Model, TensorSpec};
use crate::tensorflow::{
    ALIGNMENT, Blank, Fed, InputDefault, STRING_PREFIX, Strings, Tensor, TensorPool, byte_size,
};
use crate::triton::request::{InputBuffer, Request};
use crate::triton::{DataType, Error, Result};

/// The inputs of a batch.
pub struct Gathered {
    /// One tensor for each input of the model, the requests' rows one after the other and the copies of the last one behind
    /// them; or why none of the requests can run.
    pub tensors: Result<Few<Box<Tensor>>>,
    /// What each request has of the batch, without those that cannot be part of it.
    pub shares: Few<Share>,
    /// Where in the list those are, in order, and why.
    pub refused: Vec<(usize, Error)>,
    /// The rows of the batch.
    pub size: BatchSize,
    /// For which inputs there are tensors.
    pub fed: Fed,
}

/// One input of one request, checked.
struct Part<'r> {
    shape: &'r [i64],
    first: InputBuffer<'r>,
    /// Nearly always none: the server passes on the buffer that it received.
    others: Vec<InputBuffer<'r>>,
    /// The request has left it out, and its default stands for so many rows.
    default_rows: Option<usize>,
}

impl Part<'_> {
    fn byte_size(&self) -> usize {
        self.others.iter().fold(self.first.len(), |bytes, buffer| bytes.saturating_add(buffer.len()))
    }
}

/// The inputs of the requests that are part of the batch, those of a request one after the other.
type Parts<'r> = SmallVec<[Part<'r>; 2]>;

/// Gathers the inputs. A request that does not fit gets an error, and the others their batch.
#[inline(always)]
pub fn gather(model: &Model, pool: &TensorPool, requests: &[Request]) -> Gathered {
    // Two functions, so that nothing about ragged batches and optional inputs is in the one that most models use.
    if model.is_mixed { gather_mixed(model, pool, requests) } else { gather_alike(model, pool, requests) }
}

#[cold]
#[inline(never)]
fn gather_mixed(model: &Model, pool: &TensorPool, requests: &[Request]) -> Gathered {
    gather_batch::<true>(model, pool, requests)
}

#[inline(never)]
fn gather_alike(model: &Model, pool: &TensorPool, requests: &[Request]) -> Gathered {
    gather_batch::<false>(model, pool, requests)
}

/// Gathers the inputs of requests that may be `MIXED`: they differ in shape, or in the inputs that they have.
#[inline(always)]
fn gather_batch<const MIXED: bool>(model: &Model, pool: &TensorPool, requests: &[Request]) -> Gathered {
    let mut parts = Parts::new();
    let mut shares = Few::new();
    let mut refused = Vec::new();
    let mut total_rows = 0;
    for (index, request) in requests.iter().enumerate() {
        let start = parts.len();
        let rows = add::<MIXED>(model, request, total_rows, &mut parts);
        match rows.and_then(|rows| Ok((rows, Wanted::by(request, model)?))) {
            Ok((rows, wanted)) => {
                shares.push(Share { rows: total_rows..total_rows + rows, wanted });
                total_rows += rows;
            }
            Err(error) => {
                parts.truncate(start);
                refused.push((index, error));
            }
        }
    }
    let mut failed = None;
    let size = batch_size(model, total_rows);
    let mut gathered = Gathered {
        tensors: tensors::<MIXED>(model, pool, &parts, size, &mut failed),
        shares,
        refused,
        size,
        fed: if MIXED { fed(model, &parts) } else { Fed::ALL },
    };
    if failed.is_some() {
        gather_anew::<MIXED>(model, pool, &mut parts, &mut gathered, failed);
    }
    gathered
}

/// Leaves out the request that has the place `failed` in the batch, whose data cannot be read, and gathers the others anew; and so
/// on.
#[cold]
#[inline(never)]
fn gather_anew<const MIXED: bool>(
    model: &Model,
    pool: &TensorPool,
    parts: &mut Parts<'_>,
    gathered: &mut Gathered,
    mut failed: Option<usize>,
) {
    let Gathered { tensors, shares, refused, size, .. } = gathered;
    while let Some(place) = failed.take() {
        drop_parts(parts, place, model.inputs.len());
        let error = std::mem::replace(tensors, Ok(Few::new())).err();
        let error = error.unwrap_or_else(|| Error::internal("the input cannot be read"));
        *size = batch_size(model, size.executed - leave_out(place, error, shares, refused));
        *tensors = self::tensors::<MIXED>(model, pool, parts, *size, &mut failed);
    }
}

fn batch_size(model: &Model, rows: usize) -> BatchSize {
    BatchSize { executed: rows, padded: model.buckets.padded(rows) }
}

/// Checks the inputs of a request and adds them to those of the others, which have `total` rows. Returns its rows.
// Inlined, as whatever is called for each input or request and once in the function: calls would make it slower.
#[inline(always)]
fn add<'r, const MIXED: bool>(
    model: &'r Model,
    request: &'r Request,
    total: usize,
    parts: &mut Parts<'r>,
) -> Result<usize> {
    let start = parts.len();
    for spec in &model.inputs {
        let part = match &spec.default {
            Some(default) if MIXED && !request.has_input(&spec.c_name) => left_out(request, default),
            _ => check_input(model, spec, request).map_err(|e| at_input(model, spec, e))?,
        };
        parts.push(part);
    }
    if !model.batching {
        return Ok(1);
    }
    let (earlier, own) = parts.split_at(start);
    let mut sent = own.iter().filter(|part| !MIXED || part.default_rows.is_none());
    let rows = sent.next().map_or(1, |part| part.shape[0]);
    for (index, (spec, part)) in model.inputs.iter().zip(own).enumerate() {
        if MIXED && part.default_rows.is_some() {
            continue;
        }
        if part.shape[0] != rows {
            return Err(other_rows(model, spec, rows, part.shape[0]));
        }
        // The server batches only requests of equal shapes; this one differs all the same.
        if let Some(first) = earlier.get(index).filter(|first| first.shape.get(1..) != part.shape.get(1..))
            && !(MIXED && spec.is_ragged)
        {
            return Err(other_shape(model, spec, first.shape, part.shape));
        }
        if total > 0
            && byte_size(spec.datatype, &batch_shape(part.shape, total + rows as usize)).is_none()
            && !(MIXED && spec.is_ragged)
        {
            return Err(at_input(model, spec, too_large(part.shape)));
        }
    }
    if MIXED {
        let left_out = parts[start..].iter_mut().filter_map(|part| part.default_rows.as_mut());
        left_out.for_each(|of_default| *of_default = rows as usize);
    }
    Ok(rows as usize)
}

/// An input that the request does not have.
fn left_out<'r>(request: &'r Request, default: &'r InputDefault) -> Part<'r> {
    let shape = match default {
        InputDefault::Constant { dims, .. } => &dims[..],
        InputDefault::Computed => &[],
    };
    Part { shape, first: request.no_buffer(), others: Vec::new(), default_rows: Some(1) }
}

/// For which inputs of the batch there will be tensors: its requests have all left out the same of those whose default the graph
/// computes.
fn fed(model: &Model, parts: &[Part<'_>]) -> Fed {
    let of_graph =
        model.inputs.iter().zip(parts).filter(|(spec, _)| spec.default == Some(InputDefault::Computed));
    let left_out = of_graph.enumerate().filter(|(_, (_, part))| part.default_rows.is_some());
    left_out.fold(Fed::ALL, |fed, (index, _)| fed.without(index))
}

#[inline(always)]
fn check_input<'r>(model: &Model, spec: &TensorSpec, request: &'r Request) -> Result<Part<'r>> {
    let input = request.input(&spec.c_name)?;
    if input.datatype != spec.datatype.raw() {
        return Err(other_type(spec, DataType::from_raw(input.datatype)));
    }
    let shape = if spec.is_scalar && input.shape == [1] { &[] } else { input.shape };
    let skip = usize::from(model.batching);
    let fits = |(&expected, &dim): (&i64, &i64)| dim >= 0 && (expected == -1 || expected == dim);
    if shape.len() != spec.dims.len() + skip
        || !spec.dims.iter().zip(&shape[skip..]).all(fits)
        || shape.first().is_some_and(|&dim| dim < 0)
    {
        return Err(unfit_shape(model, spec, input.shape));
    }
    let expected = byte_size(spec.datatype, shape).ok_or_else(|| too_large(shape))?;
    let part =
        Part { shape, first: input.first_buffer()?, others: input.further_buffers()?, default_rows: None };
    let found = part.byte_size();
    let is_exact = found == expected && spec.datatype != DataType::Bytes;
    if !is_exact && !may_be_strings(spec, expected, found) {
        return Err(other_size(spec, shape, expected, found));
    }
    Ok(part)
}

/// Whether `found` bytes may be strings whose structures take `structures`. Asked before any room is made for them: how many there
/// are is only the client's word.
#[cold]
#[inline(never)]
fn may_be_strings(spec: &TensorSpec, structures: usize, found: usize) -> bool {
    let count = structures / spec.datatype.byte_size();
    let enough = if count == 0 { found == 0 } else { found / STRING_PREFIX >= count };
    spec.datatype == DataType::Bytes && enough
}

/// The batch's tensors.
///
/// # Errors
/// None of the requests can run; or `failed` has the place in the batch of the one whose data cannot be read.
// Most batches are gathered once: their tensors are made where they stay.
#[inline(always)]
fn tensors<const MIXED: bool>(
    model: &Model,
    pool: &TensorPool,
    parts: &[Part<'_>],
    size: BatchSize,
    failed: &mut Option<usize>,
) -> Result<Few<Box<Tensor>>> {
    let count = model.inputs.len();
    // The batch is one request as it came.
    let alone = parts.len() == count && !size.is_padded();
    let mut tensors = Few::new();
    // Without a request there is nothing to zip.
    for (index, (spec, first)) in model.inputs.iter().zip(parts).enumerate() {
        if MIXED && first.default_rows.is_some() && spec.default == Some(InputDefault::Computed) {
            continue;
        }
        // From where the request's bytes are, a GPU takes them no faster than through page-locked memory.
        if alone
            && !model.session.on_gpu
            && model.session.keeps_nothing()
            // Asked here because most buffers are not aligned, and `borrow` is out of line.
            && first.first.as_ptr().addr().is_multiple_of(ALIGNMENT)
            && !(MIXED && spec.is_ragged)
            && let Some(tensor) = borrow(spec.datatype, first)
        {
            tensors.push(Box::new(tensor));
            continue;
        }
        let of_all;
        let shape = if MIXED && spec.is_ragged {
            let parts = parts[index..].iter().step_by(count);
            of_all = flat_shape(parts).map_err(|error| at_input(model, spec, error))?;
            &of_all
        } else if alone && !(MIXED && model.batching) {
            first.shape
        } else {
            of_all = batch_shape(first.shape, size.padded);
            &of_all
        };
        if spec.datatype == DataType::Bytes {
            let parts = parts[index..].iter().step_by(count);
            tensors.push(
                strings(spec, shape, parts, size, failed).map_err(|error| at_input(model, spec, error))?,
            );
            continue;
        }
        let mut blank = pool.take(spec.datatype, shape)?;
        let parts = parts[index..].iter().step_by(count);
        let at_once = blank.is_pinned() && !(MIXED && spec.default.is_some());
        if !(at_once && fill_at_once(pool, &mut blank, parts.clone())) {
            for (place, part) in parts.enumerate() {
                let mut copied = match part.default_rows {
                    Some(rows) if MIXED => append_default(&mut blank, spec, rows),
                    _ => blank.append(&part.first),
                };
                if copied.is_ok() && !part.others.is_empty() {
                    copied = append_others(&mut blank, part);
                }
                if let Err(error) = copied {
                    *failed = Some(place);
                    return Err(at_input(model, spec, error));
                }
            }
        }
        if size.is_padded() {
            blank.repeat_last(blank.byte_size() / size.padded);
        }
        tensors.push(blank.finish()?);
    }
    // Without a request there is nothing to run.
    if MIXED && !parts.is_empty() {
        for input in model.ragged.iter().flat_map(|ragged| &ragged.inputs) {
            let shapes = parts[input.source..].iter().step_by(count).map(|part| part.shape);
            let tensor = batch_inputs::tensor(model, input, pool, shapes, failed)?;
            tensors.insert(input.place, tensor);
        }
    }
    Ok(tensors)
}

#[cold]
#[inline(never)]
fn append_others(blank: &mut Blank, part: &Part<'_>) -> Result<()> {
    part.others.iter().try_for_each(|buffer| blank.append(buffer))
}

#[cold]
#[inline(never)]
fn append_default(blank: &mut Blank, spec: &TensorSpec, rows: usize) -> Result<()> {
    (0..rows).try_for_each(|_| blank.append(spec.default_bytes()))
}

/// The batch's tensor of an input of strings.
///
/// # Errors
/// As for [`tensors`].
#[cold]
#[inline(never)]
fn strings<'p, 'r: 'p>(
    spec: &TensorSpec,
    shape: &[i64],
    parts: impl Iterator<Item = &'p Part<'r>> + Clone,
    size: BatchSize,
    failed: &mut Option<usize>,
) -> Result<Box<Tensor>> {
    let count = |shape: &[i64]| {
        let structures = byte_size(DataType::Bytes, shape).ok_or_else(|| too_large(shape))?;
        Ok::<_, Error>(structures / DataType::Bytes.byte_size())
    };
    let all = count(shape)?;
    let default = spec.default_bytes();
    let bytes =
        |part: &Part<'_>| part.default_rows.map_or_else(|| part.byte_size(), |rows| rows * default.len());
    let mut strings = Strings::new(all, parts.clone().map(bytes).sum())?;
    for (place, part) in parts.enumerate() {
        let count = count(part.shape)?;
        let appended = match part.default_rows {
            Some(rows) => (0..rows).try_for_each(|_| strings.append(count, default, false)),
            None => append_strings(&mut strings, count, part, spec.is_control),
        };
        if let Err(error) = appended {
            *failed = Some(place);
            return Err(error);
        }
    }
    if size.is_padded() {
        strings.repeat_last(all / size.padded);
    }
    Tensor::of_strings(shape, strings).map(Box::new)
}

fn append_strings(strings: &mut Strings, count: usize, part: &Part<'_>, may_go_on: bool) -> Result<()> {
    if part.others.is_empty()
        && let Some(bytes) = part.first.bytes()
    {
        return strings.append(count, &bytes, may_go_on);
    }
    // A string may begin in one piece and end in another; and a GPU's memory is not read string by string.
    let mut whole = Vec::with_capacity(part.byte_size());
    for buffer in iter::once(&part.first).chain(&part.others) {
        buffer.append_to(&mut whole)?;
    }
    strings.append(count, &whole[..], may_go_on)
}

/// A tensor in the memory of a request's only buffer of an input, which is aligned as TensorFlow wants it; nothing if it has to
/// be copied, because it is in several pieces, or in the memory of a GPU.
///
/// In shared memory the client may change the data while the graph runs. With copied data that can only make its own
/// answer wrong; so that this stays so, integers that a kernel may use as an index or a size after it has checked them
/// are always copied, and so are booleans, whose bytes have to be 0 or 1.
fn borrow(datatype: DataType, part: &Part<'_>) -> Option<Tensor> {
    let is_data = matches!(
        datatype,
        DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64 | DataType::UInt8 | DataType::Int8
    );
    // Asked before the memory is lent, which costs a heap request.
    if !is_data || !part.others.is_empty() || part.first.len() == 0 {
        return None;
    }
    Tensor::borrowing(datatype, part.shape, part.first.lend()?).ok()
}

/// Fills a tensor in page-locked memory by several threads, for a model on a GPU. Returns false if nothing was copied: the tensor
/// is in other memory, or a buffer is in that of a GPU.
#[inline(never)]
fn fill_at_once<'p, 'r: 'p>(
    pool: &TensorPool,
    blank: &mut Blank,
    parts: impl Iterator<Item = &'p Part<'r>>,
) -> bool {
    let buffers = parts.flat_map(|part| iter::once(&part.first).chain(&part.others));
    pool.fill(blank, buffers.map(InputBuffer::bytes))
}

/// The shape of the batch's tensor of a ragged input: all elements of all requests.
fn flat_shape<'p, 'r: 'p>(parts: impl Iterator<Item = &'p Part<'r>>) -> Result<Dims<i64>> {
    let mut elements: i64 = 0;
    for part in parts {
        // An empty one may be of any rank and size.
        let own = if part.shape.contains(&0) { 0 } else { part.shape.iter().product() };
        elements = elements.checked_add(own).ok_or_else(|| too_large(part.shape))?;
    }
    Ok(Dims::from_slice(&[elements]))
}

fn batch_shape(shape: &[i64], total: usize) -> Dims<i64> {
    let mut shape = Dims::from_slice(shape);
    shape[0] = total as i64;
    shape
}

/// Forgets the inputs, `count` in number, of the request that has this place in the batch.
#[cold]
#[inline(never)]
fn drop_parts(parts: &mut Parts<'_>, place: usize, count: usize) {
    parts.drain(place * count..(place + 1) * count);
}

/// Refuses the request that has this place in the batch; the rows of those behind it move up. Returns how many it had.
#[cold]
#[inline(never)]
fn leave_out(
    place: usize,
    error: Error,
    shares: &mut Few<Share>,
    refused: &mut Vec<(usize, Error)>,
) -> usize {
    let rows = shares.remove(place).rows.len();
    for share in &mut shares[place..] {
        share.rows = share.rows.start - rows..share.rows.end - rows;
    }
    // In the list of all requests the refused ones come between.
    let index = refused.iter().fold(place, |index, (other, _)| index + usize::from(*other <= index));
    refused.insert(index - place, (index, error));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_the_batch_is_refused_in_order_and_the_others_move_up() {
        let share = |rows| Share { rows, wanted: Wanted::All };
        let mut shares = Few::from_iter([0..1, 1..3, 3..4].map(share));
        // Of four requests the second does not fit.
        let mut refused = vec![(1, Error::invalid("unfit"))];
        let mut leave = |place, name| leave_out(place, Error::internal(name), &mut shares, &mut refused);
        assert_eq!(leave(1, "third"), 2);
        assert_eq!(leave(0, "first"), 1);
        assert_eq!((shares.len(), &shares[0].rows), (1, &(0..1)));
        let refused: Vec<_> = refused.iter().map(|(index, error)| (*index, &*error.message)).collect();
        assert_eq!(refused, [(0, "first"), (1, "unfit"), (2, "third")]);
    }
}
