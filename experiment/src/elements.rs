//! Elements of tensors: their size, and their bytes from JSON.

use anyhow::{Context, Result, bail, ensure};
use half::{bf16, f16};
use serde_json::Value;

/// The size of an element in bytes; none for BYTES, where each has its own.
///
/// # Errors
/// The datatype is unknown.
pub fn element_size(datatype: &str) -> Result<Option<usize>> {
    Ok(Some(match datatype {
        "BYTES" => return Ok(None),
        "BOOL" | "INT8" | "UINT8" => 1,
        "INT16" | "UINT16" | "FP16" | "BF16" => 2,
        "INT32" | "UINT32" | "FP32" => 4,
        "INT64" | "UINT64" | "FP64" => 8,
        _ => bail!(
            "datatype {datatype:?}: expected BOOL, [U]INT8 to [U]INT64, FP16, BF16, FP32, FP64 or BYTES"
        ),
    }))
}

/// Adds a string with its length before it.
pub fn push_string(bytes: &mut Vec<u8>, text: &[u8]) -> Result<()> {
    let length = u32::try_from(text.len()).context("a string of more than 4 GiB")?;
    bytes.extend(length.to_le_bytes());
    bytes.extend(text);
    Ok(())
}

/// The elements of nested lists, one after the other. Returns how many there are.
///
/// # Errors
/// An element is not of the datatype.
pub fn push_json(bytes: &mut Vec<u8>, datatype: &str, value: &Value) -> Result<usize> {
    if let Value::Array(list) = value {
        return list.iter().map(|one| push_json(bytes, datatype, one)).sum();
    }
    let wrong = || format!("{} is no {datatype}", beginning(value));
    match datatype {
        "BYTES" => match value {
            Value::String(text) => push_string(bytes, text.as_bytes())?,
            // As perf_analyzer does: a number stands for its digits.
            Value::Number(number) => push_string(bytes, number.to_string().as_bytes())?,
            _ => bail!(wrong()),
        },
        "BOOL" => {
            let flag = value.as_bool().or_else(|| Some(value.as_u64().filter(|flag| *flag < 2)? == 1));
            bytes.push(u8::from(flag.with_context(wrong)?));
        }
        "FP64" => bytes.extend(float(value).with_context(wrong)?.to_le_bytes()),
        "FP32" => bytes.extend((float(value).with_context(wrong)? as f32).to_le_bytes()),
        "FP16" => bytes.extend(f16::from_f64(float(value).with_context(wrong)?).to_le_bytes()),
        "BF16" => bytes.extend(bf16::from_f64(float(value).with_context(wrong)?).to_le_bytes()),
        "UINT64" => bytes.extend(value.as_u64().with_context(wrong)?.to_le_bytes()),
        _ => {
            let size = element_size(datatype)?.unwrap_or(8);
            let integer = value.as_i64().with_context(wrong)?;
            let bits = size as u32 * 8;
            let fits = match datatype.starts_with('U') {
                true => integer >= 0 && integer < 1 << bits,
                false => bits == 64 || (-(1 << (bits - 1))..1 << (bits - 1)).contains(&integer),
            };
            ensure!(fits, wrong());
            bytes.extend(&integer.to_le_bytes()[..size]);
        }
    }
    Ok(1)
}

/// A number, or the names that JSON has none for.
fn float(value: &Value) -> Option<f64> {
    match value.as_str() {
        None => value.as_f64(),
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some(_) => None,
    }
}

fn beginning(value: &Value) -> String {
    let text = value.to_string();
    let more = if text.chars().count() > 40 { "..." } else { "" };
    text.chars().take(40).collect::<String>() + more
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bytes(datatype: &str, value: &Value) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        push_json(&mut bytes, datatype, value).map(|_| bytes)
    }

    #[test]
    fn numbers_have_the_bytes_of_their_datatype() {
        assert_eq!(bytes("FP32", &json!([1, [2.5]])).unwrap(), [1.0_f32, 2.5].map(f32::to_le_bytes).concat());
        assert_eq!(bytes("FP16", &json!(0.5)).unwrap(), f16::from_f32(0.5).to_le_bytes());
        assert_eq!(bytes("INT16", &json!([-2, 258])).unwrap(), [254, 255, 2, 1]);
        assert_eq!(bytes("UINT64", &json!(u64::MAX)).unwrap(), [255; 8]);
        assert_eq!(bytes("INT64", &json!(i64::MIN)).unwrap(), i64::MIN.to_le_bytes());
        assert_eq!(bytes("BOOL", &json!([true, 0])).unwrap(), [1, 0]);
        assert_eq!(bytes("BYTES", &json!(["ab", 7])).unwrap(), b"\x02\0\0\0ab\x01\0\0\x007");
        assert!(bytes("FP64", &json!("NaN")).unwrap().as_slice().eq(&f64::NAN.to_le_bytes()));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (datatype, value) in [
            ("UINT8", json!(256)),
            ("UINT8", json!(-1)),
            ("UINT32", json!(1_u64 << 32)),
            ("INT8", json!(128)),
            ("INT32", json!(-2_147_483_649_i64)),
            ("INT32", json!(1.5)),
            ("INT64", json!(u64::MAX)),
            ("BOOL", json!(2)),
            ("FP32", json!("one")),
            ("FP32", json!(null)),
            ("BYTES", json!(true)),
        ] {
            let error = bytes(datatype, &json!([value])).unwrap_err().to_string();
            assert_eq!(error, format!("{value} is no {datatype}"));
        }
    }
}
