//! Requests made of rows of data.

use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use crate::answers::{Expected, Output};
use crate::data::{Form, Row, Rows, draws};
use crate::load::{self, Fill, Input, InputData};
use crate::plan::{Data, Plan};
use crate::record::SERVER_VALUES;
use crate::server::TensorMetadata;
use crate::target::Target;

/// Outputs that the tool does not use. It leaves them out where it names the outputs.
pub const UNUSED: [&str; 1] = ["request_end_ns"];

/// The most bytes of requests that are made beyond those that contain each row once.
const MOST_BYTES: usize = 256 << 20;

/// The inputs of a request, and what is expected of its answer.
pub struct Draw {
    pub inputs: Vec<Input>,
    pub expected: Option<Expected>,
}

/// All requests of a point; without a file of data, one. `batch` is none for a model without a batch dimension.
///
/// # Errors
/// The data cannot be read, or do not fit the model.
pub fn make(
    target: &Target,
    plan: &Plan,
    inputs: &[TensorMetadata],
    outputs: &[TensorMetadata],
    batch: Option<u32>,
) -> Result<Vec<Draw>> {
    let Some(rows) = rows(target, plan, inputs, outputs, batch.is_some())? else {
        let inputs = inputs.iter().map(|input| filled(input, plan, batch)).collect::<Result<_>>()?;
        return Ok(vec![Draw { inputs, expected: None }]);
    };
    let empty = Row::new();
    let expected = |row: usize| rows.expected.get(row).unwrap_or(&empty);
    let shapes: Vec<Vec<&[i64]>> = (0..rows.inputs.len())
        .map(|row| {
            let tensors = rows.inputs[row].values().chain(expected(row).values());
            tensors.map(|tensor| tensor.shape.as_slice()).collect()
        })
        .collect();
    let bytes =
        rows.inputs.iter().chain(&rows.expected).flat_map(Row::values).map(|tensor| tensor.bytes.len());
    let row_bytes = bytes.sum::<usize>().div_ceil(rows.inputs.len());
    let size = batch.unwrap_or(1) as usize;
    draws(&shapes, size, row_bytes, MOST_BYTES, plan.seed)
        .into_iter()
        .map(|members| {
            let of = |name: &str| -> Result<(Vec<i64>, Bytes)> {
                joined(members.iter().map(|row| &rows.inputs[*row]), name, batch)
            };
            let inputs = inputs
                .iter()
                .map(|input| {
                    if plan.input_files.contains_key(&input.name) {
                        return filled(input, plan, batch);
                    }
                    let (shape, bytes) = of(&input.name)?;
                    let (name, datatype) = (input.name.clone(), input.datatype.clone());
                    Ok(Input { name, datatype, shape, data: InputData::Binary(bytes) })
                })
                .collect::<Result<_>>()?;
            Ok(Draw { inputs, expected: wanted(&rows, &members, outputs, plan, batch)? })
        })
        .collect()
}

/// The rows of the plan's data, if it has any.
fn rows(
    target: &Target,
    plan: &Plan,
    inputs: &[TensorMetadata],
    outputs: &[TensorMetadata],
    batched: bool,
) -> Result<Option<Rc<Rows>>> {
    if plan.data_path.is_none() {
        return Ok(None);
    }
    let form = |tensor: &TensorMetadata, row: Vec<i64>| Form {
        name: tensor.name.clone(),
        datatype: tensor.datatype.clone(),
        row,
    };
    let inputs: Vec<Form> = inputs
        .iter()
        .filter(|input| !plan.input_files.contains_key(&input.name))
        .map(|input| {
            // Sizes that the plan does not give may vary from row to row.
            let free = input.shape[usize::from(batched).min(input.shape.len())..].to_vec();
            let row =
                if plan.shapes.contains_key(&input.name) { row_shape(input, plan, batched)? } else { free };
            Ok(form(input, row))
        })
        .collect::<Result<_>>()?;
    let outputs: Vec<Form> = outputs
        .iter()
        .filter(|output| !is_of_the_server(&output.name))
        .map(|output| form(output, output.shape[usize::from(batched).min(output.shape.len())..].to_vec()))
        .collect();
    target.rows(plan, inputs, outputs).map(Some)
}

/// Whether an output tells of the execution, so that nobody can expect it.
fn is_of_the_server(name: &str) -> bool {
    SERVER_VALUES.contains(&name) || UNUSED.contains(&name) || name == "padded_batch_size"
}

/// The tensors of several rows as one of a batch.
fn joined<'a>(
    mut rows: impl Iterator<Item = &'a Row>,
    name: &str,
    batch: Option<u32>,
) -> Result<(Vec<i64>, Bytes)> {
    let first = rows.next().and_then(|row| row.get(name)).with_context(|| format!("no data for '{name}'"))?;
    let Some(batch) = batch else { return Ok((first.shape.clone(), first.bytes.clone())) };
    let shape = [&[i64::from(batch)], first.shape.as_slice()].concat();
    if batch == 1 {
        return Ok((shape, first.bytes.clone()));
    }
    let mut bytes = first.bytes.to_vec();
    for row in rows {
        let tensor =
            row.get(name).with_context(|| format!("a row has no data for '{name}', and others have"))?;
        bytes.extend_from_slice(&tensor.bytes);
    }
    Ok((shape, bytes.into()))
}

fn wanted(
    rows: &Rows,
    members: &[usize],
    outputs: &[TensorMetadata],
    plan: &Plan,
    batch: Option<u32>,
) -> Result<Option<Expected>> {
    let Some(first) = members.first().and_then(|row| rows.expected.get(*row)) else { return Ok(None) };
    let outputs = first
        .keys()
        .map(|name| {
            let datatype =
                outputs.iter().find(|output| output.name == *name).map(|output| output.datatype.clone());
            let (shape, bytes) = joined(members.iter().map(|row| &rows.expected[*row]), name, batch)?;
            let datatype = datatype.with_context(|| format!("the model has no output '{name}'"))?;
            Ok(Output { name: name.clone(), datatype, shape, bytes: bytes.to_vec() })
        })
        .collect::<Result<Vec<_>>>()?;
    ensure!(!outputs.is_empty(), "the expected outputs of a row are empty");
    Ok(Some(Expected { outputs, tolerance: plan.expect_tolerance }))
}

/// The dimensions of one row: those of the metadata without the batch, with the plan's sizes for variable ones.
fn row_shape(input: &TensorMetadata, plan: &Plan, batched: bool) -> Result<Vec<i64>> {
    let name = &input.name;
    let row = &input.shape[usize::from(batched).min(input.shape.len())..];
    let Some(asked) = plan.shapes.get(name) else {
        ensure!(
            row.iter().all(|dim| *dim >= 0),
            "input '{name}' has variable dimensions {row:?}: give their sizes with --shape {name}=D,D,..."
        );
        return Ok(row.to_vec());
    };
    let fits = asked.len() == row.len() && asked.iter().zip(row).all(|(asked, dim)| *dim < 0 || asked == dim);
    ensure!(fits, "--shape {name}={asked:?}: a row of this input has the shape {row:?} (-1: any size)");
    Ok(asked.clone())
}

fn filled(input: &TensorMetadata, plan: &Plan, batch: Option<u32>) -> Result<Input> {
    let name = &input.name;
    let row = row_shape(input, plan, batch.is_some())?;
    let shape: Vec<i64> = batch.map(i64::from).into_iter().chain(row.iter().copied()).collect();
    let fill = match plan.data {
        Data::Random => Fill::Random { seed: plan.seed },
        Data::Zero => Fill::Zeros,
    };
    let bytes = match plan.input_files.get(name) {
        None => load::tensor(&input.datatype, &shape, fill).with_context(|| format!("input '{name}'"))?,
        Some(file) => {
            let bytes = std::fs::read(file)
                .with_context(|| format!("--input-file: cannot read {}", file.display()))?;
            if input.datatype != "BYTES" {
                let expected = load::tensor_size(&input.datatype, &row)?.unwrap_or(0);
                ensure!(
                    bytes.len() == expected,
                    "--input-file: {} has {} bytes, but a row of '{name}' ({} {row:?}) has {expected}",
                    file.display(),
                    bytes.len(),
                    input.datatype
                );
            }
            Bytes::from(bytes.repeat(batch.unwrap_or(1) as usize))
        }
    };
    Ok(Input { name: name.clone(), datatype: input.datatype.clone(), shape, data: InputData::Binary(bytes) })
}
