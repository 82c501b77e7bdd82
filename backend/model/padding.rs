//! Whether a model's batches are filled up with copies of a row, and to which sizes.

use super::spec::{describe, has_batch_dimension};
use crate::buckets::{Buckets, doubling};
use crate::config::{BATCH_SIZE_BUCKETS, BatchSizeBuckets, Batching, ModelConfig};
use crate::tensorflow::{Endpoint, Objection, Session};
use crate::triton::{Error, Result};

/// What the choice goes by.
struct Facts {
    /// 0: the model has no batch dimension.
    max_batch_size: u32,
    /// Somebody makes batches of several requests, so that there are batches of all sizes.
    mixed: bool,
    /// Part of the graph runs on a GPU.
    on_gpu: bool,
    /// Why further rows may change the answers to the others, or do more than to be computed.
    obstacle: Option<String>,
}

/// The sizes that the batches of a model are filled up to; `declared` are the outputs of `session` that `config` has.
///
/// # Errors
/// `config` asks for sizes that the model cannot have.
pub fn choose(
    name: &str,
    config: &ModelConfig,
    session: &Session,
    declared: &[usize],
    on_gpu: bool,
) -> Result<Buckets> {
    let facts = Facts {
        max_batch_size: config.max_batch_size,
        mixed: config.server_batches || config.batching != Batching::Triton,
        on_gpu,
        obstacle: ragged(config)
            .or_else(|| effects(session.objection.as_ref()))
            .or_else(|| without_rows(declared.iter().map(|&index| &session.outputs[index]))),
    };
    Ok(decide(&config.batch_size_buckets, facts)?.unwrap_or_else(|reason| {
        let level = if on_gpu { log::Level::Info } else { log::Level::Debug };
        log::log!(level, "model '{name}': batches are not filled up to a bucket: {reason}");
        Buckets::default()
    }))
}

/// The sizes, or why there are none.
///
/// # Errors
/// The operator asks for sizes that the model cannot have.
fn decide(setting: &BatchSizeBuckets, facts: Facts) -> Result<std::result::Result<Buckets, String>> {
    let Facts { max_batch_size, mixed, on_gpu, obstacle } = facts;
    let most = max_batch_size as usize;
    match setting {
        BatchSizeBuckets::Off => Ok(Err(format!("{BATCH_SIZE_BUCKETS} says so"))),
        BatchSizeBuckets::Sizes(sizes) => {
            if max_batch_size == 0 {
                return Err(Error::invalid(format!(
                    "the parameter {BATCH_SIZE_BUCKETS} of config.pbtxt has a meaning only with a batch dimension, but \
                     max_batch_size is 0: set max_batch_size, or remove the parameter"
                )));
            }
            if let Some(large) = sizes.iter().find(|&&size| size > max_batch_size) {
                return Err(Error::invalid(format!(
                    "'{BATCH_SIZE_BUCKETS}' in the parameters of config.pbtxt: expected sizes of at most max_batch_size, \
                     which is {max_batch_size}, found {large}: remove it, or set a larger max_batch_size"
                )));
            }
            if let Some(obstacle) = obstacle {
                return Err(Error::unsupported(format!(
                    "the parameter {BATCH_SIZE_BUCKETS} of config.pbtxt fills batches up with copies of a row, which this \
                     model does not allow: {obstacle}. Remove the parameter"
                )));
            }
            Ok(Ok(Buckets::new(sizes.iter().map(|&size| size as usize), most)))
        }
        BatchSizeBuckets::Auto => {
            let reason = if !on_gpu {
                Some("the model runs on CPUs".into())
            } else if max_batch_size == 0 {
                Some("the model has no batch dimension".into())
            } else if !mixed {
                Some(
                    "requests share no batches: there is no dynamic_batching, sequence_batching or batching: adaptive"
                        .into(),
                )
            } else {
                obstacle
            };
            Ok(reason.map_or_else(|| Ok(Buckets::new(doubling(most), most)), Err))
        }
    }
}

/// A batch of requests of different shapes has no row that could be copied.
fn ragged(config: &ModelConfig) -> Option<String> {
    config.is_ragged().then(|| {
        "requests of different shapes share its batches, by allow_ragged_batch, batch_input or batch_output".into()
    })
}

/// What a run does besides computing rows. A loop may depend on the rows, but copies of a row end when that one does.
fn effects(objection: Option<&Objection>) -> Option<String> {
    match objection {
        Some(Objection::Acts(reason)) => Some(reason.clone()),
        Some(Objection::Endless(_) | Objection::Large(_)) | None => None,
    }
}

/// The first of these outputs that may not have a row for each row of the input.
fn without_rows<'e>(mut outputs: impl Iterator<Item = &'e Endpoint>) -> Option<String> {
    let output = outputs.find(|output| !has_batch_dimension(output))?;
    let (name, shape) = (&output.name, describe(output));
    Some(format!(
        "by the signature, the first dimension of its output '{name}' ({shape}) is not that of the batch"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::triton::{Code, DataType};

    /// A model of the kind that buckets are for.
    fn facts() -> Facts {
        Facts { max_batch_size: 12, mixed: true, on_gpu: true, obstacle: None }
    }

    fn none(setting: &BatchSizeBuckets, facts: Facts) -> String {
        decide(setting, facts).unwrap().unwrap_err()
    }

    #[test]
    fn powers_of_two_are_the_choice_on_gpus_where_they_do_no_harm() {
        let auto = &BatchSizeBuckets::Auto;
        assert_eq!(decide(auto, facts()).unwrap().unwrap().sizes(), [1, 2, 4, 8, 12]);
        let obstacle = Some("the reason".into());
        for (facts, reason) in [
            (Facts { on_gpu: false, ..facts() }, "runs on CPUs"),
            (Facts { max_batch_size: 0, ..facts() }, "no batch dimension"),
            (Facts { mixed: false, ..facts() }, "share no batches"),
            (Facts { obstacle, ..facts() }, "the reason"),
        ] {
            assert!(none(auto, facts).contains(reason), "{reason}");
        }
        assert!(none(&BatchSizeBuckets::Off, facts()).contains("says so"));
    }

    #[test]
    fn sizes_that_are_asked_for_hold_wherever_it_runs() {
        let sizes = BatchSizeBuckets::Sizes(vec![3, 6]);
        for (mixed, on_gpu) in [(true, true), (false, true), (true, false), (false, false)] {
            let buckets = decide(&sizes, Facts { mixed, on_gpu, ..facts() }).unwrap().unwrap();
            assert_eq!(buckets.sizes(), [3, 6, 12]);
        }
        let to_the_end = BatchSizeBuckets::Sizes(vec![12]);
        assert_eq!(decide(&to_the_end, facts()).unwrap().unwrap().sizes(), [12]);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let sizes = BatchSizeBuckets::Sizes(vec![3, 13, 14]);
        let obstacle = Some("the reason".into());
        for (facts, code, parts) in [
            (Facts { max_batch_size: 0, ..facts() }, Code::InvalidArg, ["max_batch_size is 0", "remove"]),
            (facts(), Code::InvalidArg, ["at most max_batch_size, which is 12, found 13", "larger"]),
            (
                Facts { max_batch_size: 14, obstacle, ..facts() },
                Code::Unsupported,
                ["copies of a row", "not allow: the reason. Remove"],
            ),
        ] {
            let error = decide(&sizes, facts).unwrap_err();
            assert_eq!(error.code, code, "{error}");
            for part in parts.into_iter().chain([BATCH_SIZE_BUCKETS]) {
                assert!(error.message.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn copies_are_only_computed() {
        let reason = || "the reason".to_string();
        assert_eq!(effects(Some(&Objection::Acts(reason()))), Some(reason()));
        assert_eq!(effects(Some(&Objection::Endless(reason()))), None);
        assert_eq!(effects(Some(&Objection::Large(reason()))), None);
        assert_eq!(effects(None), None);
    }

    #[test]
    fn outputs_have_a_row_for_each_row_by_the_signature() {
        let output = |name: &str, dims: Option<&[i64]>| Endpoint {
            name: name.into(),
            datatype: Some(DataType::Fp32),
            type_name: "DT_FLOAT".into(),
            dims: dims.map(<[i64]>::to_vec),
            place: (name.into(), 0),
            default: None,
        };
        let good = output("good", Some(&[-1, 4]));
        assert_eq!(without_rows([&good, &good].into_iter()), None);
        for (dims, shape) in
            [(None, "FP32 of unknown rank"), (Some(&[][..]), "FP32 []"), (Some(&[3, -1]), "FP32 [3, -1]")]
        {
            let found = without_rows([&good, &output("other", dims)].into_iter()).unwrap();
            assert!(found.contains(&format!("output 'other' ({shape})")), "{found}");
        }
    }
}
