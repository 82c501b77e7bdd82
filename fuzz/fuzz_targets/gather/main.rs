//! Requests of any shape, type and size against the gathering of inputs, beside the rules written down again.
//!
//! The pipeline's file stands among stand-ins of the rooms below it: requests and tensors are vectors of bytes.
#![no_main]

#[allow(dead_code)]
#[path = "../../../backend/buckets.rs"]
mod buckets;
mod config {
    pub use tensorflow_latency_fuzz::config::BatchInputKind;
}
mod execute;
#[path = "../../../backend/few.rs"]
mod few;
mod model;
mod tensorflow;
mod triton;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use buckets::{Buckets, doubling};
use config::BatchInputKind;
use execute::gather::gather;
use model::{BatchInput, Model, Ragged, Session, TensorSpec};
use tensorflow::{Fed, InputDefault, TensorPool, byte_size};
use triton::DataType;
use triton::request::{Input, Request};

#[derive(Debug, Arbitrary)]
struct Batch {
    batching: bool,
    keeps_nothing: bool,
    /// None: batches run as they are.
    bucket: Option<u8>,
    specs: Vec<Spec>,
    requests: Vec<Wish>,
    /// Inputs that the backend makes.
    made: Vec<Made>,
}

#[derive(Debug, Arbitrary)]
struct Made {
    kind: u8,
    is_float: bool,
    place: u8,
    source: u8,
}

#[derive(Debug, Arbitrary)]
struct Spec {
    datatype: u8,
    dims: Vec<Dim>,
    is_ragged: bool,
    is_optional: bool,
}

#[derive(Debug, Arbitrary)]
struct Wish {
    inputs: Vec<WishedInput>,
    /// Whether the request names an output that is not there.
    odd_output: bool,
}

#[derive(Debug, Arbitrary)]
struct WishedInput {
    /// Most requests have the right type.
    datatype: Option<u8>,
    /// In place of the specification's dimensions, which most have.
    shape: Option<Vec<Dim>>,
    rows: Dim,
    open: Dim,
    /// Bytes more or fewer than its shape says.
    off_by: i8,
    /// Where its data is cut into buffers.
    cuts: Vec<u8>,
    /// From 0xf0 on its data cannot be copied.
    seed: u8,
    /// It is not there, if it may be left out.
    left_out: bool,
}

/// Mostly small.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Dim {
    Open,
    Small(u8),
    Any(i64),
    Power(u8),
}

impl Dim {
    fn value(self) -> i64 {
        match self {
            Self::Open => -1,
            Self::Small(dim) => i64::from(dim % 6),
            Self::Any(dim) => dim,
            Self::Power(bits) => 1_i64 << (bits % 64),
        }
    }
}

/// Data that is made for a request. What is larger has none, and so another size than its shape says.
const MOST_BYTES: usize = 1 << 14;

/// What the backend makes for more rows takes memory of their number, though the rows may be empty.
const MOST_ROWS: usize = 1 << 10;

fn datatype(number: u8) -> DataType {
    DataType::ALL[usize::from(number) % DataType::ALL.len()]
}

fuzz_target!(|batch: Batch| {
    let specs = batch.specs.iter().take(3).enumerate();
    let mut inputs: Vec<TensorSpec> = specs
        .map(|(index, spec)| {
            let dims: Vec<i64> = spec.dims.iter().take(5).map(|dim| dim.value().max(-1)).collect();
            TensorSpec {
                name: index.to_string(),
                c_name: std::ffi::CString::new(index.to_string()).expect("a number has no NUL"),
                datatype: datatype(spec.datatype),
                // Without a batch dimension, what has no dimensions is a scalar; with a few it is one that is told as [1].
                is_scalar: !batch.batching && dims.is_empty() && spec.datatype & 1 == 0,
                is_control: false,
                is_ragged: batch.batching && spec.is_ragged,
                default: None,
                dims,
            }
        })
        .collect();
    let made = batch.made.iter().take(3).filter(|_| batch.batching && !inputs.is_empty());
    let mut made: Vec<BatchInput> = made
        .map(|made| BatchInput {
            name: "made".into(),
            kind: BatchInputKind::ALL[usize::from(made.kind) % BatchInputKind::ALL.len()],
            datatype: if made.is_float { DataType::Fp32 } else { DataType::Int32 },
            place: usize::from(made.place) % (inputs.len() + 1),
            source: usize::from(made.source) % inputs.len(),
        })
        .collect();
    made.sort_by_key(|made| made.place);
    // Each is an input of its own.
    made.iter_mut().enumerate().for_each(|(index, made)| made.place += index);
    let is_ragged = !made.is_empty() || inputs.iter().any(|spec| spec.is_ragged);
    if !is_ragged {
        let optional = inputs.iter_mut().zip(&batch.specs).filter(|(_, wished)| wished.is_optional);
        optional.for_each(|(spec, _)| spec.default = default(batch.batching, spec));
    }
    let may_lack = inputs.iter().any(|spec| spec.default.is_some());
    let session = Session { keeps_nothing: batch.keeps_nothing, on_gpu: false };
    let largest =
        batch.bucket.filter(|_| batch.batching && !is_ragged).map(|size| usize::from(size % 16) + 1);
    let buckets = largest.map_or_else(Buckets::default, |size| Buckets::new(doubling(size), size));
    let ragged = is_ragged.then(|| Box::new(Ragged { inputs: made }));
    let model = Model {
        name: "m".into(),
        batching: batch.batching,
        is_mixed: is_ragged || may_lack,
        max_batch_size: MOST_ROWS,
        ragged,
        inputs,
        session,
        buckets,
    };
    // Without a batch dimension the pipeline gathers for one request at a time.
    let most = if model.batching { 8 } else { 1 };
    let requests: Vec<Request> = batch.requests.iter().take(most).map(|wish| request(&model, wish)).collect();
    let gathered = gather(&model, &TensorPool, &requests);

    // The rules.
    let mut taken: Vec<&Request> = Vec::new();
    let mut refused = Vec::new();
    let mut total: usize = 0;
    let mut fitting: Vec<(usize, &Request, usize)> = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        match rows(&model, request, fitting.first().map(|(_, first, _)| *first), total) {
            Some(rows) => {
                fitting.push((index, request, rows));
                total += rows;
            }
            None => refused.push(index),
        }
    }
    // Of those that fit together, each whose data cannot be copied leaves, or has not as many strings as its shape says, or sizes
    // that the model cannot be told.
    total = 0;
    for (index, request, rows) in fitting {
        let has_data = |input: &Input| input.buffers.iter().any(|buffer| !buffer.is_empty());
        let is_lost = |input: &Input| input.unreadable && has_data(input) || !is_strings_if_it_has_to(input);
        let is_too_large = |made: &BatchInput| !can_be_told(made, &request.inputs[made.source].shape);
        if request.inputs.iter().take(model.inputs.len()).any(is_lost)
            || made_for(&model).iter().any(is_too_large)
        {
            refused.push(index);
        } else {
            assert_eq!(gathered.shares[taken.len()].rows, total..total + rows);
            taken.push(request);
            total += rows;
        }
    }
    refused.sort_unstable();
    assert_eq!(gathered.shares.len(), taken.len());
    assert_eq!(gathered.refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), refused);
    assert!(gathered.refused.iter().all(|(_, error)| !error.message.is_empty()));
    assert_eq!(gathered.fed, Fed::ALL);
    let padded = model.buckets.padded(total);
    assert_eq!((gathered.size.executed, gathered.size.padded), (total, padded));
    let impossible = |(index, spec): (usize, &TensorSpec)| {
        let Some(request) = taken.first().filter(|_| padded > total) else { return false };
        let mut shape = request.inputs[index].shape.clone();
        shape[0] = padded as i64;
        byte_size(spec.datatype, &shape).is_none()
    };
    if model.inputs.iter().enumerate().any(impossible) {
        assert!(gathered.tensors.is_err());
        return;
    }
    let mut tensors = gathered.tensors.expect("there is memory for all of them");
    if taken.is_empty() {
        assert!(tensors.is_empty());
        return;
    }
    for made in made_for(&model).iter().rev() {
        let tensor = tensors.remove(made.place);
        let shapes: Vec<&[i64]> =
            taken.iter().map(|request| &request.inputs[made.source].shape[..]).collect();
        let (dims, values) = told(made.kind, &shapes);
        let bytes = |value: &i64| match made.datatype {
            DataType::Fp32 => (*value as f32).to_ne_bytes(),
            _ => (*value as i32).to_ne_bytes(),
        };
        assert_eq!((tensor.datatype, &tensor.dims), (made.datatype, &dims));
        assert_eq!(tensor.bytes, values.iter().flat_map(bytes).collect::<Vec<u8>>());
    }
    assert_eq!(tensors.len(), model.inputs.len());
    for (index, (tensor, spec)) in tensors.iter().zip(&model.inputs).enumerate() {
        let mut bytes: Vec<u8> =
            taken.iter().flat_map(|request| request.inputs[index].buffers.concat()).collect();
        if padded > total {
            let last = if spec.datatype == DataType::Bytes {
                let strings = strings(&bytes).expect("they were read");
                let row = strings.len() / total;
                serialized(strings[strings.len() - row..].iter().copied())
            } else {
                bytes[bytes.len() - bytes.len() / total..].to_vec()
            };
            (total..padded).for_each(|_| bytes.extend(&last));
        }
        assert_eq!((tensor.datatype, &tensor.bytes), (spec.datatype, &bytes));
        if spec.datatype != DataType::Bytes {
            assert_eq!(byte_size(spec.datatype, &tensor.dims), Some(bytes.len()));
        }
        if spec.is_ragged {
            let count = |request: &&Request| elements(&request.inputs[index].shape);
            assert_eq!(tensor.dims, [taken.iter().map(count).sum::<i64>()]);
            assert!(!tensor.lent);
        } else if model.batching {
            assert_eq!(tensor.dims[0], padded as i64);
        }
        let may_lend = model.session.keeps_nothing && taken.len() == 1 && padded == total;
        let is_number = !format!("{}", spec.datatype).contains("INT") || spec.datatype.byte_size() == 1;
        assert!(!tensor.lent || may_lend && is_number && spec.datatype != DataType::Bool);
    }
});

fn request(model: &Model, wish: &Wish) -> Request {
    let inputs = model.inputs.iter().zip(&wish.inputs).map(|(spec, wished)| {
        let datatype = wished.datatype.map_or(spec.datatype, datatype);
        let given = wished.shape.as_ref().map(|dims| dims.iter().take(6).map(|dim| dim.value()).collect());
        let fitting = || {
            let rows = model.batching.then(|| wished.rows.value());
            let open = |&dim: &i64| if dim == -1 { wished.open.value() } else { dim };
            rows.into_iter().chain(spec.dims.iter().map(open)).collect()
        };
        let shape: Vec<i64> = given.unwrap_or_else(fitting);
        let size = byte_size(datatype, &shape).filter(|&size| size <= MOST_BYTES).unwrap_or(0);
        let size = size.saturating_add_signed(isize::from(wished.off_by) / 100);
        let byte = |at: usize| (at as u8).wrapping_mul(31).wrapping_add(wished.seed);
        let mut data: Vec<u8> = (0..size).map(byte).collect();
        if datatype == DataType::Bytes {
            // Strings of 0 to 63 bytes. Then some are cut off, or bytes follow, or one has another length.
            let all: Vec<Vec<u8>> = (0..size / datatype.byte_size())
                .map(|index| (0..usize::from(byte(index)) % 64).map(|at| byte(at + index)).collect())
                .collect();
            data = serialized(all.iter().map(Vec::as_slice));
            let len = data.len().saturating_add_signed(isize::from(wished.off_by) / 50);
            data.resize(len, wished.seed);
            if wished.off_by.unsigned_abs() == 1 && !data.is_empty() {
                let at = usize::from(wished.seed) % data.len();
                data[at] ^= 1 << (at % 8);
            }
        }
        let mut buffers = Vec::new();
        let mut rest = &data[..];
        for &cut in wished.cuts.iter().take(4) {
            let (piece, behind) = rest.split_at(usize::from(cut).min(rest.len()));
            buffers.push(piece.to_vec());
            rest = behind;
        }
        if !rest.is_empty() || buffers.is_empty() && wished.seed & 1 == 0 {
            buffers.push(rest.to_vec());
        }
        Input { datatype: datatype.raw(), shape, buffers, unreadable: wished.seed >= 0xf0, left_out: false }
    });
    let mut inputs: Vec<Input> = inputs.collect();
    let may_go = |(spec, wished): (&TensorSpec, &WishedInput)| spec.default.is_some() && wished.left_out;
    let left_out: Vec<bool> = model.inputs.iter().zip(&wish.inputs).map(may_go).collect();
    let sent = inputs.iter().zip(&left_out).find(|(_, left_out)| !**left_out);
    let rows = sent.map_or(Some(1), |(input, _)| input.shape.first().copied());
    // The server takes no request of more rows than the model's batches have.
    let Some(rows) = rows.filter(|rows| (0..=MOST_ROWS as i64).contains(rows) || !model.batching) else {
        return Request { inputs, odd_output: wish.odd_output };
    };
    for ((input, spec), _) in
        inputs.iter_mut().zip(&model.inputs).zip(&left_out).filter(|(_, left_out)| **left_out)
    {
        if let Some(InputDefault::Constant { dims, bytes }) = &spec.default {
            let mut shape = dims.clone();
            let copies = if model.batching { rows } else { 1 };
            shape.iter_mut().take(usize::from(model.batching)).for_each(|dim| *dim = rows);
            let buffers = vec![bytes.repeat(copies as usize)];
            *input =
                Input { datatype: spec.datatype.raw(), shape, buffers, unreadable: false, left_out: true };
        }
    }
    Request { inputs, odd_output: wish.odd_output }
}

/// A default of one row for an input of a fixed size; nothing for others.
fn default(batching: bool, spec: &TensorSpec) -> Option<InputDefault> {
    let dims: Vec<i64> = batching.then_some(1).into_iter().chain(spec.dims.iter().copied()).collect();
    let size = byte_size(spec.datatype, &dims).filter(|&size| size <= 64 && !spec.dims.contains(&-1))?;
    let bytes = if spec.datatype == DataType::Bytes {
        serialized(std::iter::repeat_n(&b"default"[..], size / spec.datatype.byte_size()))
    } else {
        vec![1; size]
    };
    Some(InputDefault::Constant { dims, bytes })
}

/// The rows of a request, nothing if it cannot be part of the batch.
fn rows(model: &Model, request: &Request, first: Option<&Request>, total: usize) -> Option<usize> {
    let mut rows = None;
    for (index, spec) in model.inputs.iter().enumerate() {
        let input = request.inputs.get(index)?;
        let shape = if spec.is_scalar && input.shape == [1] { &[] } else { &input.shape[..] };
        let own = shape.get(usize::from(model.batching)..)?;
        let fits = own.len() == spec.dims.len()
            && input.shape.iter().all(|&dim| dim >= 0)
            && own.iter().zip(&spec.dims).all(|(dim, expected)| *expected == -1 || dim == expected);
        let size: usize = input.buffers.iter().map(Vec::len).sum();
        if !fits || input.datatype != spec.datatype.raw() {
            return None;
        }
        let expected = byte_size(spec.datatype, shape)?;
        if spec.datatype == DataType::Bytes {
            let count = expected / spec.datatype.byte_size();
            if count > size / 4 || count == 0 && size > 0 {
                return None;
            }
        } else if expected != size {
            return None;
        }
        if model.batching {
            let own = input.shape[0] as usize;
            if *rows.get_or_insert(own) != own {
                return None;
            }
            if let Some(first) = first.filter(|_| !spec.is_ragged) {
                let whole = total.checked_add(own).and_then(|total| i64::try_from(total).ok())?;
                let shape: Vec<i64> = [&[whole], &input.shape[1..]].concat();
                let of_first = &first.inputs[index].shape[1..];
                if of_first != &input.shape[1..] || total > 0 && byte_size(spec.datatype, &shape).is_none() {
                    return None;
                }
            }
        }
    }
    (!request.odd_output).then_some(rows.unwrap_or(1))
}

/// What the backend makes for this model.
fn made_for(model: &Model) -> &[BatchInput] {
    model.ragged.as_ref().map_or(&[], |ragged| &ragged.inputs)
}

fn elements(shape: &[i64]) -> i64 {
    if shape.contains(&0) { 0 } else { shape.iter().product() }
}

/// Whether a batch input can tell of a request of this shape. Requests that have data have few elements.
fn can_be_told(made: &BatchInput, shape: &[i64]) -> bool {
    if !matches!(made.kind, BatchInputKind::ItemShape | BatchInputKind::ItemShapeFlatten) {
        return true;
    }
    let fits = |&dim: &i64| made.datatype == DataType::Fp32 || dim <= i64::from(i32::MAX);
    shape[0] <= MOST_ROWS as i64 && (shape[0] == 0 || shape[1..].iter().all(fits))
}

/// The shape of a batch input and its values.
fn told(kind: BatchInputKind, shapes: &[&[i64]]) -> (Vec<i64>, Vec<i64>) {
    let counts: Vec<i64> = shapes.iter().map(|shape| elements(shape)).collect();
    let ends = (1..=counts.len()).map(|count| counts[..count].iter().sum());
    let items = || shapes.iter().flat_map(|shape| shape[1..].repeat(shape[0] as usize)).collect::<Vec<i64>>();
    let in_one = |values: Vec<i64>| (vec![values.len() as i64], values);
    match kind {
        BatchInputKind::ElementCount => in_one(counts),
        BatchInputKind::AccumulatedElementCount => in_one(ends.collect()),
        BatchInputKind::AccumulatedElementCountWithZero => in_one(std::iter::once(0).chain(ends).collect()),
        BatchInputKind::MaxElementCountAsShape => {
            in_one(vec![0; *counts.iter().max().unwrap_or(&0) as usize])
        }
        BatchInputKind::ItemShape => {
            let rows = shapes.iter().map(|shape| shape[0]).sum();
            (vec![rows, shapes[0].len() as i64 - 1], items())
        }
        BatchInputKind::ItemShapeFlatten => in_one(items()),
    }
}

/// Whether the data is as many strings as the shape says, if it is to be strings.
fn is_strings_if_it_has_to(input: &Input) -> bool {
    let count = || byte_size(DataType::Bytes, &input.shape).map(|size| size / DataType::Bytes.byte_size());
    input.datatype != DataType::Bytes.raw()
        || strings(&input.buffers.concat()).map(|strings| strings.len()) == count()
}

/// Strings, each with its length in front.
fn strings(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut strings = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk() {
        let (string, behind) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        strings.push(string);
        bytes = behind;
    }
    bytes.is_empty().then_some(strings)
}

fn serialized<'s>(strings: impl Iterator<Item = &'s [u8]>) -> Vec<u8> {
    strings.flat_map(|string| [&(string.len() as u32).to_le_bytes(), string].concat()).collect()
}
