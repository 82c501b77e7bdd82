//! Rows in JSON: perf_analyzer's `--input-data` format, in one document or with a row in each line.

use anyhow::{Context, Result, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Map, Value};

use super::row::{Form, Row, Tensor};
use crate::answers::Strings;
use crate::elements::{element_size, push_json, push_string};

/// Rows, and what a document says is expected of them.
#[derive(Debug, Default)]
pub struct Found {
    pub rows: Vec<Row>,
    /// As many, or none.
    pub expected: Vec<Row>,
}

/// `{"data": [{"INPUT": TENSOR, ...}, ...], "validation_data": [{"OUTPUT": TENSOR, ...}, ...]}`, where a tensor is a list of
/// elements, `{"content": LIST, "shape": DIMS}` or `{"b64": TEXT, "shape": DIMS}`. Rows may be in lists of rows, as
/// perf_analyzer has them for sequences.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(text: &[u8], inputs: &[Form], outputs: &[Form]) -> Result<Found> {
    let mut document: Map<String, Value> = serde_json::from_slice(text).context("not a JSON object")?;
    let data = document.remove("data").context("it has no list \"data\"")?;
    let mut found = Found { rows: rows(&data, "data", inputs)?, expected: Vec::new() };
    if let Some(expected) = document.remove("validation_data") {
        found.expected = rows(&expected, "validation_data", outputs)?;
        ensure!(
            found.expected.len() == found.rows.len(),
            "\"data\" has {} rows and \"validation_data\" has {}: expected as many",
            found.rows.len(),
            found.expected.len()
        );
    }
    Ok(found)
}

/// In each line a row, `{"INPUT": TENSOR, ...}`, or `{"data": ROW, "validation_data": ROW}`.
///
/// # Errors
/// What is wrong, with the number of the line.
pub fn parse_lines(text: &[u8], inputs: &[Form], outputs: &[Form]) -> Result<Found> {
    let text = std::str::from_utf8(text).context("it is not UTF-8")?;
    let mut found = Found::default();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("line {}", number + 1);
        let value: Value = serde_json::from_str(line).with_context(place)?;
        let wrapped = value["data"].is_object() && !inputs.iter().any(|input| input.name == "data");
        let input = if wrapped { &value["data"] } else { &value };
        found.rows.push(row(input, inputs).with_context(place)?);
        if wrapped && !value["validation_data"].is_null() {
            found.expected.push(row(&value["validation_data"], outputs).with_context(place)?);
        }
    }
    ensure!(
        found.expected.is_empty() || found.expected.len() == found.rows.len(),
        "{} of {} lines have validation_data: expected all or none",
        found.expected.len(),
        found.rows.len()
    );
    Ok(found)
}

fn rows(value: &Value, what: &str, forms: &[Form]) -> Result<Vec<Row>> {
    let list = value.as_array().with_context(|| format!("\"{what}\" is not a list"))?;
    let nested = list.iter().any(Value::is_array);
    let flat: Vec<&Value> = match nested {
        true => list
            .iter()
            .flat_map(|one| one.as_array().map_or(std::slice::from_ref(one), Vec::as_slice))
            .collect(),
        false => list.iter().collect(),
    };
    let rows = flat.iter().enumerate();
    rows.map(|(number, one)| row(one, forms).with_context(|| format!("\"{what}\", row {number}"))).collect()
}

fn row(value: &Value, forms: &[Form]) -> Result<Row> {
    let tensors = value.as_object().context("it is not an object with a tensor for each name")?;
    let tensors = tensors.iter().map(|(name, value)| {
        let form = forms.iter().find(|form| form.name == *name).with_context(|| {
            let known: Vec<&str> = forms.iter().map(|form| form.name.as_str()).collect();
            format!("the model has no '{name}' there; it has {}", known.join(", "))
        })?;
        Ok((name.clone(), tensor(value, form).with_context(|| format!("'{name}'"))?))
    });
    tensors.collect()
}

fn tensor(value: &Value, form: &Form) -> Result<Tensor> {
    let (content, shape) = match value {
        Value::Object(map) => {
            let content = map.get("content").or_else(|| map.contains_key("b64").then_some(value));
            let shape = map.get("shape").map(|shape| {
                let dims =
                    shape.as_array().map(|dims| dims.iter().map(Value::as_i64).collect::<Option<Vec<_>>>());
                dims.flatten().with_context(|| format!("the shape {shape} is not a list of integers"))
            });
            (content.context("it has neither \"content\" nor \"b64\"")?, shape.transpose()?)
        }
        list => (list, None),
    };
    let mut bytes = Vec::new();
    let elements = match content["b64"].as_str() {
        Some(text) => {
            let raw = BASE64_STANDARD.decode(text).context("its \"b64\" is not base64")?;
            decoded(&mut bytes, &form.datatype, raw)?
        }
        None => push_json(&mut bytes, &form.datatype, content)?,
    };
    let shape = match shape {
        Some(shape) => shape,
        None => shape_of(content, elements, &form.row)?,
    };
    form.check(&shape)?;
    let wanted =
        shape.iter().try_fold(1_usize, |product, dim| product.checked_mul(usize::try_from(*dim).ok()?));
    ensure!(wanted == Some(elements), "the shape {shape:?} does not fit {elements} elements");
    Ok(Tensor { shape, bytes: bytes.into() })
}

/// Adds the elements of what was base64: raw bytes, and for strings either all of them with their lengths or the one that
/// there is.
fn decoded(bytes: &mut Vec<u8>, datatype: &str, raw: Vec<u8>) -> Result<usize> {
    let Some(size) = element_size(datatype)? else {
        let strings = Strings(&raw);
        let (length, count) =
            strings.fold((0, 0), |(length, count), text| (length + 4 + text.len(), count + 1));
        if length == raw.len() && count > 0 {
            bytes.extend(raw);
            return Ok(count);
        }
        push_string(bytes, &raw)?;
        return Ok(1);
    };
    ensure!(
        raw.len().is_multiple_of(size),
        "its \"b64\" has {} bytes, which is no number of {datatype}",
        raw.len()
    );
    let count = raw.len() / size;
    bytes.extend(raw);
    Ok(count)
}

/// The shape of elements that come without one: that of the model, or that of the nested lists where it is variable.
fn shape_of(content: &Value, elements: usize, row: &[i64]) -> Result<Vec<i64>> {
    if row.iter().all(|dim| *dim >= 0) {
        return Ok(row.to_vec());
    }
    let mut nested = Vec::new();
    let mut inner = content;
    while let Value::Array(list) = inner {
        nested.push(list.len() as i64);
        inner = list.first().unwrap_or(&Value::Null);
    }
    if nested.len() == row.len() {
        return Ok(nested);
    }
    // One variable dimension follows from the number of elements.
    let known: i64 = row.iter().filter(|dim| **dim >= 0).product();
    let variable = row.iter().filter(|dim| **dim < 0).count();
    if variable == 1 && known > 0 && elements as i64 % known == 0 {
        return Ok(row.iter().map(|dim| if *dim < 0 { elements as i64 / known } else { *dim }).collect());
    }
    bail!("rows of the model have variable dimensions {row:?}: give a \"shape\" beside the \"content\"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(name: &str, datatype: &str, row: &[i64]) -> Form {
        Form { name: name.to_owned(), datatype: datatype.to_owned(), row: row.to_vec() }
    }

    fn forms() -> Vec<Form> {
        vec![form("x", "INT8", &[2]), form("any", "INT8", &[-1, 2]), form("text", "BYTES", &[2])]
    }

    fn read(text: &str) -> Result<Found> {
        parse(text.as_bytes(), &forms(), &[form("y", "FP32", &[1])])
    }

    fn of(row: &Row, name: &str) -> (Vec<i64>, Vec<u8>) {
        (row[name].shape.clone(), row[name].bytes.to_vec())
    }

    #[test]
    fn tensors_come_in_all_forms_of_perf_analyzer() {
        let found = read(
            r#"{"data": [
                {"x": [1, 2], "any": {"content": [1, 2, 3, 4], "shape": [2, 2]}, "text": ["a", "b"]},
                {"x": {"b64": "AwQ="}, "any": [[5, 6]], "text": {"content": {"b64": "AQAAAGEAAAAA"}}},
                {"x": {"content": [5, 6], "shape": [2]}, "any": [1, 2, 3, 4, 5, 6]}
            ], "validation_data": [{"y": [1]}, {"y": [2.5]}, {"y": [3]}]}"#,
        )
        .unwrap();
        let [first, second, third] = found.rows.as_slice() else { panic!("{found:?}") };
        assert_eq!(of(first, "x"), (vec![2], vec![1, 2]));
        assert_eq!(of(first, "any"), (vec![2, 2], vec![1, 2, 3, 4]));
        assert_eq!(of(first, "text"), (vec![2], b"\x01\0\0\0a\x01\0\0\0b".to_vec()));
        assert_eq!(of(second, "x"), (vec![2], vec![3, 4]));
        assert_eq!(of(second, "any"), (vec![1, 2], vec![5, 6]));
        assert_eq!(of(second, "text"), (vec![2], b"\x01\0\0\0a\0\0\0\0".to_vec()));
        assert_eq!(of(third, "any").0, [3, 2]);
        assert_eq!(found.expected[1]["y"].bytes[..], 2.5_f32.to_le_bytes());
    }

    #[test]
    fn sequences_of_perf_analyzer_are_rows_one_after_the_other() {
        let found = read(r#"{"data": [[{"x": [1, 2]}, {"x": [3, 4]}], [{"x": [5, 6]}]]}"#).unwrap();
        assert_eq!(found.rows.len(), 3);
        assert_eq!(of(&found.rows[2], "x").1, [5, 6]);
    }

    #[test]
    fn lines_are_rows_with_or_without_what_is_expected() {
        let outputs = [form("y", "FP32", &[1])];
        let read = |text: &str| parse_lines(text.as_bytes(), &forms(), &outputs);
        let plain = read("{\"x\": [1, 2]}\n\n{\"x\": [3, 4]}\r\n").unwrap();
        assert_eq!((plain.rows.len(), plain.expected.len()), (2, 0));
        let full = read(r#"{"data": {"x": [1, 2]}, "validation_data": {"y": [1]}}"#).unwrap();
        assert_eq!((full.rows.len(), full.expected.len()), (1, 1));
        let error = format!("{:#}", read("{\"x\": [1, 2]}\n{\"x\": [1, 2, 3]}").unwrap_err());
        assert_eq!(error, "line 2: 'x': the shape [2] does not fit 3 elements");
        let half = "{\"data\": {\"x\": [1, 2]}, \"validation_data\": {\"y\": [1]}}\n{\"x\": [1, 2]}";
        assert!(read(half).unwrap_err().to_string().contains("1 of 2 lines have validation_data"));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, part) in [
            ("[]", "not a JSON object"),
            ("{}", "no list \"data\""),
            (r#"{"data": 5}"#, "\"data\" is not a list"),
            (
                r#"{"data": [{"x": [1, 2]}, {"z": [1]}]}"#,
                "\"data\", row 1: the model has no 'z' there; it has x, any",
            ),
            (r#"{"data": [{"x": [1, 300]}]}"#, "row 0: 'x': 300 is no INT8"),
            (r#"{"data": [{"x": {"shape": [2]}}]}"#, "neither \"content\" nor \"b64\""),
            (r#"{"data": [{"x": {"b64": "%"}}]}"#, "not base64"),
            (r#"{"data": [{"x": {"content": [1], "shape": [1]}}]}"#, "[1] does not fit rows of [2]"),
            (r#"{"data": [{"x": {"content": [1], "shape": ["1"]}}]}"#, "not a list of integers"),
            (r#"{"data": [{"any": [1, 2, 3]}]}"#, "give a \"shape\""),
            (r#"{"data": [{"x": [1, 2]}], "validation_data": []}"#, "1 rows and \"validation_data\" has 0"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in ".{0,60}", dims in proptest::collection::vec(any::<i64>(), 0..4)) {
            let _ = read(&text);
            let _ = read(&format!(r#"{{"data": [{text}]}}"#));
            let _ = read(&format!(r#"{{"data": [{{"any": {{"content": [1, 2], "shape": {dims:?}}}}}]}}"#));
            let _ = read(&format!(r#"{{"data": [{{"text": {{"b64": {text:?}}}}}]}}"#));
        }
    }
}
