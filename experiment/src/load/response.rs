//! Reads inference responses, and the server's times in them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::outputs::outputs;
use crate::answers::Output;
use crate::record::{Failure, SERVER_VALUES, ServerValues};

/// Where the responses carry the server's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerValuesFrom {
    /// Response parameters.
    Parameters,
    /// Outputs, and perhaps parameters.
    Outputs,
}

/// The values of a response, and where it carried them.
pub(super) type Answer = (ServerValues, Option<ServerValuesFrom>);

const VALUE_SIZE: usize = size_of::<i64>();

/// Bytes that are kept of a response that is not an inference response, for the error message.
const ERROR_LIMIT: usize = 64 << 10;

/// The most JSON that is kept of a response. A server that sends more, or without end, sends no inference response.
const TEXT_LIMIT: usize = 256 << 20;

/// The most binary data that is kept to be compared.
const KEPT_LIMIT: usize = 1 << 30;

/// Reads one response after the other, in pieces of any size. Keeps the JSON and the known values; other tensors are
/// skipped.
#[derive(Debug, Default)]
pub(super) struct Reader {
    status: u16,
    /// The JSON received so far.
    text: Vec<u8>,
    /// Length of the JSON; none: the whole body.
    text_length: Option<usize>,
    /// What the JSON says, once it is complete.
    header: Option<Result<Header, String>>,
    /// Values in binary data, in the order of [`SERVER_VALUES`].
    binary: [[u8; VALUE_SIZE]; SERVER_VALUES.len()],
    /// Bytes of binary data received so far.
    passed: usize,
    /// Whether binary data is kept.
    keeps: bool,
    kept: Vec<u8>,
    /// More has come than belongs to a response.
    over: bool,
}

/// What the JSON says.
#[derive(Debug, Default)]
struct Header {
    values: ServerValues,
    from: Option<ServerValuesFrom>,
    /// Positions of values in the binary data.
    starts: [Option<usize>; SERVER_VALUES.len()],
    binary_length: usize,
}

impl Reader {
    /// Starts with a new response. `text_length` is its header `Inference-Header-Content-Length`.
    pub fn begin(&mut self, status: u16, text_length: Option<usize>) {
        self.status = status;
        self.text.clear();
        self.text_length = text_length.filter(|_| status == 200);
        self.header = None;
        self.passed = 0;
        self.kept.clear();
        self.over = false;
    }

    /// Keeps the outputs of the responses that follow.
    pub fn keep(&mut self) {
        self.keeps = true;
    }

    /// The outputs of the response, if they are kept.
    pub fn outputs(&self) -> Result<Vec<Output>, String> {
        if self.kept.len() < self.passed {
            return Err(format!(
                "more than {} MiB of outputs, which is too much to compare",
                KEPT_LIMIT >> 20
            ));
        }
        outputs(&self.text, &self.kept)
    }

    /// Whether more has come than belongs to a response, so that reading on makes no sense: [`Reader::end`] says what. A
    /// server may send without end.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The next piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        let limit = if self.status == 200 { TEXT_LIMIT } else { ERROR_LIMIT };
        let room = self.text_length.unwrap_or(limit) - self.text.len();
        let (text, data) = piece.split_at(piece.len().min(room));
        if self.text.len() + text.len() > limit || (self.text_length.is_none() && !data.is_empty()) {
            self.over = true;
            self.text.extend_from_slice(&text[..text.len().min(limit - self.text.len())]);
            return;
        }
        self.text.extend_from_slice(text);
        if !text.is_empty() && self.text_length == Some(self.text.len()) {
            self.header = Some(parse(&self.text));
        }
        if let Some(Ok(header)) = &self.header {
            for (value, start) in self.binary.iter_mut().zip(header.starts) {
                if let Some(start) = start {
                    copy_overlap(value, start, data, self.passed);
                }
            }
        }
        self.passed += data.len();
        if self.keeps && self.kept.len() + data.len() <= KEPT_LIMIT {
            self.kept.extend_from_slice(data);
        }
        self.over = match &self.header {
            Some(Ok(header)) => self.passed > header.binary_length,
            Some(Err(_)) => !data.is_empty(),
            None => false,
        };
    }

    /// Ends the body.
    pub fn end(&mut self) -> Result<Answer, Failure> {
        if self.status != 200 {
            return Err(Failure {
                kind: format!("HTTP {}", self.status),
                message: error_message(&self.text),
            });
        }
        self.read_values().map_err(|message| Failure { kind: "bad response".to_owned(), message })
    }

    fn read_values(&mut self) -> Result<Answer, String> {
        if self.over && self.header.is_none() {
            let limit = TEXT_LIMIT >> 20;
            return Err(format!("more than {limit} MiB of JSON, which is no inference response"));
        }
        let header = match (self.header.take(), self.text_length) {
            (Some(header), _) => header?,
            (None, None) => parse(&self.text)?,
            (None, Some(length)) => {
                let there = self.text.len();
                return Err(format!("the header announces {length} bytes of JSON, but the body has {there}"));
            }
        };
        if self.passed != header.binary_length {
            let (expected, passed) = (header.binary_length, self.passed);
            let more = if self.over { " or more" } else { "" };
            return Err(format!(
                "the JSON announces {expected} bytes of tensors, but the body has {passed}{more}"
            ));
        }
        let mut values = header.values;
        for ((value, start), bytes) in values.iter_mut().zip(header.starts).zip(self.binary) {
            if start.is_some() {
                *value = Some(i64::from_le_bytes(bytes));
            }
        }
        Ok((values, header.from))
    }
}

/// Copies what `data`, which begins at `passed`, holds of the value that begins at `start`.
fn copy_overlap(value: &mut [u8; VALUE_SIZE], start: usize, data: &[u8], passed: usize) {
    let from = start.max(passed);
    let to = (start + VALUE_SIZE).min(passed + data.len());
    if from < to {
        value[from - start..to - start].copy_from_slice(&data[from - passed..to - passed]);
    }
}

fn parse(text: &[u8]) -> Result<Header, String> {
    let json: Json = serde_json::from_slice(text)
        .map_err(|error| format!("not an inference response ({error}): {:?}", beginning(text)))?;
    let mut header = Header { values: json.parameters.0, ..Header::default() };
    if header.values.iter().any(Option::is_some) {
        header.from = Some(ServerValuesFrom::Parameters);
    }
    for output in json.outputs {
        let start = header.binary_length;
        let size = output.parameters.binary_data_size;
        header.binary_length = start.checked_add(size).ok_or("tensors larger than the memory")?;
        let Some(place) = SERVER_VALUES.iter().position(|name| *name == output.name) else { continue };
        // Another datatype: the model has its own output of that name.
        if output.datatype != "INT64" {
            continue;
        }
        if let Some(value) = output.data.0 {
            header.values[place] = Some(value);
        } else if size >= VALUE_SIZE {
            header.starts[place] = Some(start);
        } else {
            continue;
        }
        header.from = Some(ServerValuesFrom::Outputs);
    }
    Ok(header)
}

/// The server's error message, or the beginning of what it sent.
fn error_message(text: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Json {
        error: String,
    }
    serde_json::from_slice(text).map_or_else(|_| beginning(text), |json: Json| json.error)
}

fn beginning(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(200)]).trim().to_owned()
}

/// The parts of a response's JSON that are read.
#[derive(Deserialize)]
struct Json<'a> {
    #[serde(borrow)]
    outputs: Vec<JsonOutput<'a>>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize)]
struct JsonOutput<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    datatype: Cow<'a, str>,
    #[serde(default)]
    parameters: OutputParameters,
    #[serde(default)]
    data: First,
}

#[derive(Default, Deserialize)]
struct OutputParameters {
    #[serde(default)]
    binary_data_size: usize,
}

/// A number, or the first number of nested lists; none for anything else.
#[derive(Clone, Copy, Default)]
struct First(Option<i64>);

impl<'de> Deserialize<'de> for First {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = First;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a value or a list of values")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<First, E> {
                Ok(First(Some(value)))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<First, E> {
                Ok(First(value.try_into().ok()))
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<First, E> {
                Ok(First(None))
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<First, E> {
                Ok(First(None))
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<First, E> {
                Ok(First(None))
            }

            fn visit_unit<E: Error>(self) -> Result<First, E> {
                Ok(First(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<First, A::Error> {
                let first = list.next_element::<First>()?.unwrap_or_default();
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(first)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<First, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(First(None))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// The known response parameters.
#[derive(Default)]
struct Parameters(ServerValues);

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Known;
        impl<'de> Visitor<'de> for Known {
            type Value = Parameters;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("parameters")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
                let mut values = ServerValues::default();
                while let Some(key) = map.next_key::<Cow<str>>()? {
                    match SERVER_VALUES.iter().position(|name| *name == key) {
                        Some(place) => values[place] = map.next_value::<First>()?.0,
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Parameters(values))
            }
        }
        deserializer.deserialize_map(Known)
    }
}

#[cfg(test)]
mod tests {
    use proptest::strategy::Strategy;

    use super::*;
    use crate::record::{ENERGY, ENERGY_MEASURED, EXECUTED_BATCH_SIZE};

    /// The answer to a body that comes in pieces of `size` bytes.
    fn read(status: u16, text: Option<&str>, rest: &[u8], size: usize) -> Result<Answer, Failure> {
        let mut reader = Reader::default();
        reader.begin(500, None);
        reader.push(b"of the response before");
        reader.begin(status, text.map(str::len));
        for piece in [text.unwrap_or_default().as_bytes(), rest].concat().chunks(size) {
            reader.push(piece);
        }
        reader.end()
    }

    fn values(known: &[(usize, i64)]) -> ServerValues {
        let mut values = ServerValues::default();
        for (place, value) in known {
            values[*place] = Some(*value);
        }
        values
    }

    #[test]
    fn binary_outputs_are_found_between_tensors() {
        let text = r#"{"model_name":"m","outputs":[
            {"name":"y","datatype":"FP32","shape":[2,5],"parameters":{"binary_data_size":40}},
            {"name":"compute_latency_ns","datatype":"INT64","shape":[2,1],"parameters":{"binary_data_size":16}},
            {"name":"z","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}},
            {"name":"executed_batch_size","datatype":"INT64","shape":[1],"parameters":{"binary_data_size":8}}]}"#;
        let latency = 5_000_000_123_i64.to_le_bytes();
        let data = [&[9; 40][..], &latency, &latency, &[9; 4], &4_i64.to_le_bytes()].concat();
        let expected = values(&[(0, 5_000_000_123), (EXECUTED_BATCH_SIZE, 4)]);
        for size in [1, 3, 7, 64, 10_000] {
            let answer = read(200, Some(text), &data, size).unwrap();
            assert_eq!(answer, (expected, Some(ServerValuesFrom::Outputs)), "in pieces of {size}");
        }
    }

    #[test]
    fn json_outputs_of_all_kinds() {
        let text = r#"{"outputs":[
            {"name":"a","datatype":"FP32","shape":[2],"data":[0.5,1e3]},
            {"name":"b","datatype":"BYTES","shape":[1],"data":["text \"quoted\""]},
            {"name":"c","datatype":"BOOL","shape":[1],"data":[true]},
            {"name":"compute_infer_ns","datatype":"INT64","shape":[2,1],"data":[66769717,66769717]},
            {"name":"compute_input_ns","datatype":"INT64","shape":[1,1],"data":[[12]]},
            {"name":"compute_output_ns","datatype":"FP64","shape":[1],"data":[3]},
            {"name":"in_shared_memory","datatype":"FP32","shape":[1],"parameters":
             {"shared_memory_region":"r","shared_memory_byte_size":4}}]}"#;
        let expected = (values(&[(2, 66_769_717), (1, 12)]), Some(ServerValuesFrom::Outputs));
        assert_eq!(read(200, None, text.as_bytes(), 11).unwrap(), expected);
        assert_eq!(read(200, Some(text), b"", 11).unwrap(), expected);
    }

    #[test]
    fn parameters_where_outputs_have_none() {
        let text = r#"{"parameters":{"sequence_id":0,"name":"x","list":[1],"on":true,
            "compute_latency_ns":77,"queue_ns":5},
            "outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1]}]}"#;
        let parameters = read(200, None, text.as_bytes(), 100).unwrap();
        assert_eq!(parameters, (values(&[(0, 77), (4, 5)]), Some(ServerValuesFrom::Parameters)));
        let output = r#"[{"name":"compute_latency_ns","datatype":"INT64","shape":[1],"data":[78]},"#;
        let both = text.replace('\n', "").replace("\"outputs\":[", &format!("\"outputs\":{output}"));
        let both = read(200, None, both.as_bytes(), 100).unwrap();
        assert_eq!(both, (values(&[(0, 78), (4, 5)]), Some(ServerValuesFrom::Outputs)));
        let none = read(200, None, br#"{"outputs":[]}"#, 100).unwrap();
        assert_eq!(none, (ServerValues::default(), None));
    }

    #[test]
    fn energy_is_read_as_the_times_are() {
        let output = r#"{"parameters":{"energy_uj":7,"energy_measured_percent":80},"outputs":[
            {"name":"energy_uj","datatype":"INT64","shape":[2,1],"parameters":{"binary_data_size":16}}]}"#;
        let data = 123_456_i64.to_le_bytes().repeat(2);
        let expected = values(&[(ENERGY, 123_456), (ENERGY_MEASURED, 80)]);
        for size in [1, 5, 100] {
            assert_eq!(read(200, Some(output), &data, size).unwrap().0, expected, "in pieces of {size}");
        }
        let parameters = r#"{"parameters":{"energy_uj":7,"energy_measured_percent":80},"outputs":[]}"#;
        let answer = read(200, None, parameters.as_bytes(), 100).unwrap();
        assert_eq!(
            answer,
            (values(&[(ENERGY, 7), (ENERGY_MEASURED, 80)]), Some(ServerValuesFrom::Parameters))
        );
        // An output of the model that happens to have the name.
        let other = r#"{"outputs":[{"name":"energy_uj","datatype":"FP32","shape":[1],"data":[7.5]}]}"#;
        assert_eq!(read(200, None, other.as_bytes(), 100).unwrap().0, ServerValues::default());
    }

    #[test]
    fn malformed_responses_are_errors() {
        let tensor = r#"{"outputs":[{"name":"y","datatype":"FP32","parameters":{"binary_data_size":4}}]}"#;
        let huge = tensor.replace(
            ":4}",
            ":18446744073709551615}},{\"name\":\"z\",\"datatype\":\"FP32\",\
            \"parameters\":{\"binary_data_size\":1}",
        );
        for (text, rest, expected) in [
            (None, "<html>hello", "not an inference response"),
            (None, "", "not an inference response"),
            (Some(r#"{"model":1}"#), "", "missing field `outputs`"),
            (Some(r#"{"outputs":[{"name":"y"}]}"#), "", "missing field `datatype`"),
            (Some(tensor), "123", "the JSON announces 4 bytes of tensors, but the body has 3"),
            (Some(tensor), "12345", "the JSON announces 4 bytes of tensors, but the body has 5"),
            (Some(&huge), "1", "larger than the memory"),
        ] {
            let failure = read(200, text, rest.as_bytes(), 5).unwrap_err();
            assert_eq!(failure.kind, "bad response");
            assert!(failure.message.contains(expected), "{}", failure.message);
        }
        let mut reader = Reader::default();
        reader.begin(200, Some(10));
        reader.push(b"{}");
        let short = reader.end().unwrap_err();
        assert_eq!(short.message, "the header announces 10 bytes of JSON, but the body has 2");
    }

    #[test]
    fn errors_are_in_the_words_of_the_server() {
        let failure = |text: &str| read(503, None, text.as_bytes(), 7).unwrap_err();
        let expected = |message: &str| Failure { kind: "HTTP 503".to_owned(), message: message.to_owned() };
        assert_eq!(failure(r#"{"error":"Server is \"not\" ready"}"#), expected("Server is \"not\" ready"));
        assert_eq!(failure("\n down for today\n"), expected("down for today"));
        assert_eq!(failure(&"x".repeat(100_000)), expected(&"x".repeat(200)));
        // A header for the JSON of a response that it does not have.
        let odd = read(400, Some(r#"{"error":"no"}"#), b"", 100).unwrap_err();
        assert_eq!((odd.kind.as_str(), odd.message.as_str()), ("HTTP 400", "no"));
    }

    proptest::proptest! {
        /// Whatever comes, in whatever pieces: the same outcome, no panic, and no memory but for what came.
        #[test]
        fn pieces_change_nothing(
            status in proptest::prop_oneof![proptest::strategy::Just(200_u16), 0_u16..600],
            length in proptest::option::of(0_usize..80),
            body in proptest::prop_oneof![
                proptest::collection::vec(proptest::num::u8::ANY, 0..80),
                r#"\{"outputs":\[\{"name":"(y|queue_ns)","datatype":"INT64","shape":\[1\],"(data":\[[0-9]{1,20}\]|parameters":\{"binary_data_size":[0-9]{1,20}\})\}\]\}.{0,9}"#
                    .prop_map(String::into_bytes),
            ],
            size in 1_usize..40,
        ) {
            let outcome = |size: usize| {
                let mut reader = Reader::default();
                reader.keep();
                reader.begin(status, length);
                body.chunks(size).for_each(|piece| reader.push(piece));
                let result = reader.end();
                let outputs = result.is_ok().then(|| reader.outputs());
                (result.map_err(|failure| failure.kind), outputs)
            };
            proptest::prop_assert_eq!(outcome(size), outcome(body.len().max(1)));
        }
    }
}
