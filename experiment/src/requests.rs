//! Makes the requests of a point from the model's metadata: shapes, data, shared memory.

mod rows;

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::answers::Expected;
use crate::load::{
    self, Input, InputData, Output, Pacing, PreparedRequest, Region, SharedRange, Workload, unique_name,
};
use crate::plan::{Plan, SharedMemory, duration};
use crate::record::{SERVER_VALUES, WindowRule};
use crate::server::{Control, TensorMetadata};
use crate::target::Target;
use rows::UNUSED;

/// The most requests that are prepared, of a few hundred bytes each.
const MOST_PREPARED: usize = 1 << 20;

/// Alignment of tensors in shared memory, in bytes.
const ALIGNMENT: usize = 64;

/// The requests of a point, and the shared memory that they name.
pub struct Requests<'a> {
    /// Those of each draw: one for all in flight, or one for each.
    prepared: Vec<PreparedRequest>,
    draws: usize,
    /// None, or one for each draw.
    expected: Arc<[Expected]>,
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
        let draws = rows::make(target, plan, &model.inputs, &model.outputs, batched.then_some(batch))?;
        let (inputs, expected): (Vec<Vec<Input>>, Vec<Option<Expected>>) =
            draws.into_iter().map(|draw| (draw.inputs, draw.expected)).unzip();
        let expected: Arc<[Expected]> = expected.into_iter().flatten().collect();
        if plan.shared_memory == SharedMemory::None {
            let one = |inputs: &Vec<Input>| PreparedRequest::new(&plan.model, version, inputs, &[]);
            let prepared = inputs.iter().map(one).collect::<Result<Vec<_>>>()?;
            return Ok(Self { draws: prepared.len(), prepared, expected, _shared: Vec::new() });
        }

        ensure!(
            inputs.len() * slots <= MOST_PREPARED,
            "--shared-memory: {} requests of --data for each of up to {slots} in flight are too many: give fewer rows, or a \
             lower --max-connections",
            inputs.len()
        );
        let (inputs, mut shared) = in_shared_memory(control, inputs)?;
        let compared: Vec<&str> = expected
            .first()
            .into_iter()
            .flat_map(|expected| &expected.outputs)
            .map(|output| output.name.as_str())
            .collect();
        let sizes = model
            .outputs
            .iter()
            .filter(|output| !UNUSED.contains(&output.name.as_str()))
            .map(|output| {
                // What is compared has to be in the response.
                let size = output_size(output, batched.then_some(batch));
                (output, size.filter(|size| *size > 0 && !compared.contains(&output.name.as_str())))
            })
            .collect::<Vec<_>>();
        let slot_size: usize = sizes.iter().filter_map(|(_, size)| *size).sum();
        let results = match slot_size {
            0 => None,
            _ => Some(Registered::new(control, Region::zeroed("outputs", slot_size * slots)?)?),
        };
        let outputs = |slot: usize| -> Vec<Output> {
            let mut offset = slot * slot_size;
            let placed = sizes.iter().map(|(output, size)| {
                let shared = results.as_ref().zip(*size).map(|(region, byte_size)| {
                    let range = SharedRange { region: region.name.clone(), offset, byte_size };
                    offset += byte_size;
                    range
                });
                Output { name: output.name.clone(), shared }
            });
            placed.collect()
        };
        let outputs: Vec<Vec<Output>> = (0..slots).map(outputs).collect();
        let prepared = inputs
            .iter()
            .flat_map(|inputs| outputs.iter().map(move |outputs| (inputs, outputs)))
            .map(|(inputs, outputs)| PreparedRequest::new(&plan.model, version, inputs, outputs))
            .collect::<Result<_>>()?;
        shared.extend(results);
        Ok(Self { draws: inputs.len(), prepared, expected, _shared: shared })
    }

    /// Sends one request and waits for the response, to find errors that all requests would have.
    ///
    /// # Errors
    /// The server's message, or the run was interrupted.
    pub fn probe(&self, target: &Target, plan: &Plan) -> Result<()> {
        let once = Pacing::Open { arrivals: Box::new(iter::once(Duration::ZERO)), max_connections: 1 };
        let rule =
            WindowRule { warm_up_ns: 0, min_ns: u64::MAX, min_requests: 1, late_ns: 0, keep_each: false };
        let running = load::start(self.workload(target, plan, once, rule, plan.longest_s())?)?;
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
        longest_s: f64,
    ) -> Result<Workload> {
        Ok(Workload {
            address: target.address(),
            host: target.control().host().to_owned(),
            requests: self.prepared.clone(),
            draws: self.draws,
            expected: self.expected.clone(),
            pacing,
            rule,
            // No request waits longer than its point.
            timeout: duration(plan.timeout_s.min(longest_s)),
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
        rows::make(target, plan, &model.inputs, &model.outputs, batched.then_some(batch))?;
    }
    Ok(())
}

/// Puts inputs into shared memory: those of the same name into one region.
fn in_shared_memory<'a>(
    control: &'a Control,
    mut draws: Vec<Vec<Input>>,
) -> Result<(Vec<Vec<Input>>, Vec<Registered<'a>>)> {
    let mut regions = Vec::new();
    for index in 0..draws.first().map_or(0, Vec::len) {
        let name = draws[0][index].name.clone();
        let mut bytes: Vec<u8> = Vec::new();
        let mut ranges = Vec::new();
        for inputs in &draws {
            let InputData::Binary(data) = &inputs[index].data else { continue };
            ranges.push((bytes.len(), data.len()));
            bytes.extend_from_slice(data);
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        }
        // The server takes no region without bytes.
        if bytes.is_empty() {
            continue;
        }
        let region = Registered::new(control, Region::create(&name, &bytes)?)?;
        for (inputs, (offset, byte_size)) in draws.iter_mut().zip(ranges).filter(|(_, (_, size))| *size > 0) {
            let range = SharedRange { region: region.name.clone(), offset, byte_size };
            inputs[index].data = InputData::Shared(range);
        }
        regions.push(region);
    }
    Ok((draws, regions))
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
