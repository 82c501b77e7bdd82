//! Makes the requests of a point from the model's metadata: shapes, data, shared memory.

use std::iter;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use serde_json::Value;

use crate::load::{
    self, Fill, Input, InputData, Output, Pacing, PreparedRequest, Region, SharedRange, Workload, unique_name,
};
use crate::plan::{Data, Plan, SharedMemory, duration};
use crate::record::{SERVER_VALUES, WindowRule};
use crate::server::{Control, TensorMetadata};
use crate::target::Target;

/// Outputs that the tool does not use. It leaves them out where it names the outputs.
const UNUSED: [&str; 1] = ["request_end_ns"];

/// Alignment of outputs in shared memory, in bytes.
const ALIGNMENT: usize = 64;

/// The requests of a point, and the shared memory that they name.
pub struct Requests<'a> {
    prepared: Vec<PreparedRequest>,
    _shared: Vec<Registered<'a>>,
}

impl<'a> Requests<'a> {
    /// Requests of `batch` rows, for at most `slots` concurrent ones.
    ///
    /// # Errors
    /// The model does not allow that batch size, the shape or data of an input is unknown, or the server rejects the
    /// shared memory.
    pub fn make(target: &'a Target, plan: &Plan, batch: u32, slots: usize) -> Result<Self> {
        let (control, version) = (target.control(), plan.version.as_deref());
        // Read each time, because another configuration may have other shapes.
        let model = control.model_metadata(&plan.model, version)?;
        let config = control.model_config(&plan.model, version)?;
        check_names(plan, &model.inputs)?;
        let batched = is_batched(&config, &plan.model, batch)?;
        let inputs = model
            .inputs
            .iter()
            .map(|input| filled(input, plan, batched.then_some(batch)))
            .collect::<Result<Vec<_>>>()?;
        if plan.shared_memory == SharedMemory::None {
            let prepared = vec![PreparedRequest::new(&plan.model, version, &inputs, &[])?];
            return Ok(Self { prepared, _shared: Vec::new() });
        }

        let mut shared = Vec::new();
        let inputs = inputs
            .into_iter()
            .map(|input| {
                let InputData::Binary(bytes) = input.data else { return Ok(input) };
                let region = Registered::new(control, Region::create(&input.name, &bytes)?)?;
                let range = SharedRange { region: region.name.clone(), offset: 0, byte_size: bytes.len() };
                shared.push(region);
                Ok(Input { data: InputData::Shared(range), ..input })
            })
            .collect::<Result<Vec<_>>>()?;
        let sizes = model
            .outputs
            .iter()
            .filter(|output| !UNUSED.contains(&output.name.as_str()))
            .map(|output| (output, output_size(output, batched.then_some(batch))))
            .collect::<Vec<_>>();
        let slot_size: usize = sizes.iter().filter_map(|(_, size)| *size).sum();
        let results = match slot_size {
            0 => None,
            _ => Some(Registered::new(control, Region::zeroed("outputs", slot_size * slots)?)?),
        };
        let prepared = (0..slots)
            .map(|slot| {
                let mut offset = slot * slot_size;
                let outputs: Vec<Output> = sizes
                    .iter()
                    .map(|(output, size)| {
                        let shared = results.as_ref().zip(*size).map(|(region, byte_size)| {
                            let range = SharedRange { region: region.name.clone(), offset, byte_size };
                            offset += byte_size;
                            range
                        });
                        Output { name: output.name.clone(), shared }
                    })
                    .collect();
                PreparedRequest::new(&plan.model, version, &inputs, &outputs)
            })
            .collect::<Result<_>>()?;
        shared.extend(results);
        Ok(Self { prepared, _shared: shared })
    }

    /// Sends one request and waits for the response, to find errors that all requests would have.
    ///
    /// # Errors
    /// The server's message, or the run was interrupted.
    pub fn probe(&self, target: &Target, plan: &Plan) -> Result<()> {
        let once = Pacing::Open { arrivals: Box::new(iter::once(Duration::ZERO)), max_connections: 1 };
        let rule =
            WindowRule { warm_up_ns: 0, min_ns: u64::MAX, min_requests: 1, late_ns: 0, keep_each: false };
        let running = load::start(self.workload(target, plan, once, rule)?)?;
        let totals = running.ended(|| target.check())?;
        match totals.all.failures.into_iter().next() {
            None => Ok(()),
            Some((kind, (_, message))) => {
                bail!("a test request of this point failed: {kind}: {message}")
            }
        }
    }

    /// The load of these requests.
    ///
    /// # Errors
    /// The server's host name cannot be resolved.
    pub fn workload(
        &self,
        target: &Target,
        plan: &Plan,
        pacing: Pacing,
        rule: WindowRule,
    ) -> Result<Workload> {
        Ok(Workload {
            address: target.address(),
            host: target.control().host().to_owned(),
            requests: self.prepared.clone(),
            pacing,
            rule,
            timeout: duration(plan.timeout_s),
        })
    }
}

/// Checks that requests of `batch` rows can be made for the model, with a merge patch applied to its configuration.
///
/// # Errors
/// As [`Requests::make`].
pub fn check(target: &Target, plan: &Plan, batch: u32, patch: Option<&Value>) -> Result<()> {
    let model = target.control().model_metadata(&plan.model, plan.version.as_deref())?;
    let mut config = target.control().model_config(&plan.model, plan.version.as_deref())?;
    let was_batched = is_batched(&config, &plan.model, 1)?;
    if let Some(patch) = patch {
        json_patch::merge(&mut config, patch);
    }
    check_names(plan, &model.inputs)?;
    let batched = is_batched(&config, &plan.model, batch)?;
    // If the patch adds or removes the batch dimension, shapes are known only after the model has been loaded with it.
    if batched == was_batched {
        for input in &model.inputs {
            filled(input, plan, batched.then_some(batch))?;
        }
    }
    Ok(())
}

/// Shared memory that is registered with the server until this is dropped.
struct Registered<'a> {
    control: &'a Control,
    name: String,
}

impl<'a> Registered<'a> {
    /// The server has its own mapping, so the region is removed at once: a run that is killed leaves no file behind.
    fn new(control: &'a Control, region: Region) -> Result<Self> {
        let name = unique_name("region");
        control
            .register_system_memory(&name, &region.key(), 0, region.len() as u64)
            .context("leave out --shared-memory to send tensors over HTTP")?;
        Ok(Self { control, name })
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        // If the server is gone, there is nothing to unregister.
        let _ = self.control.unregister_system_memory(&self.name);
    }
}

/// The inputs for which the plan gives data or shapes have to exist.
fn check_names(plan: &Plan, inputs: &[TensorMetadata]) -> Result<()> {
    let known: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    for (flag, names) in [
        ("--shape", plan.shapes.keys().collect::<Vec<_>>()),
        ("--input-file", plan.input_files.keys().collect()),
    ] {
        if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
            bail!("{flag}: the model '{}' has no input '{unknown}'; it has {}", plan.model, known.join(", "));
        }
    }
    Ok(())
}

/// Whether requests have a batch dimension.
fn is_batched(config: &Value, model: &str, batch: u32) -> Result<bool> {
    let largest = config["max_batch_size"].as_u64().unwrap_or(0);
    if largest == 0 {
        ensure!(
            batch == 1,
            "batch {batch}: the model '{model}' has no batch dimension (max_batch_size 0): --batch must be 1"
        );
        return Ok(false);
    }
    ensure!(
        u64::from(batch) <= largest,
        "batch {batch}: the model '{model}' allows at most {largest} (max_batch_size): give smaller sizes with --batch"
    );
    Ok(true)
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

/// Bytes of an output in shared memory, rounded up. None if the size is unknown before the response, and for the
/// server's times, which the tool reads.
fn output_size(output: &TensorMetadata, batch: Option<u32>) -> Option<usize> {
    if SERVER_VALUES.contains(&output.name.as_str()) {
        return None;
    }
    let row = &output.shape[usize::from(batch.is_some()).min(output.shape.len())..];
    let shape: Vec<i64> = batch.map(i64::from).into_iter().chain(row.iter().copied()).collect();
    let bytes = load::tensor_size(&output.datatype, &shape).ok()??;
    Some(bytes.next_multiple_of(ALIGNMENT))
}
