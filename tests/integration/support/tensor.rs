//! Tensors as the protocol carries them: a name, a type, a shape and little-endian bytes.

/// One tensor of a request or of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub name: String,
    pub datatype: String,
    pub shape: Vec<i64>,
    pub bytes: Vec<u8>,
}

impl Tensor {
    pub fn new(name: &str, datatype: &str, shape: &[i64], bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), datatype: datatype.to_owned(), shape: shape.to_vec(), bytes }
    }

    pub fn fp32(name: &str, shape: &[i64], values: &[f32]) -> Self {
        Self::new(name, "FP32", shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    pub fn int32(name: &str, shape: &[i64], values: &[i32]) -> Self {
        Self::new(name, "INT32", shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    pub fn strings(name: &str, shape: &[i64], values: &[&[u8]]) -> Self {
        let with_length = |value: &&[u8]| [&(value.len() as u32).to_le_bytes(), *value].concat();
        Self::new(name, "BYTES", shape, values.iter().flat_map(with_length).collect())
    }

    /// The values, when the tensor is BYTES.
    pub fn as_strings(&self) -> Vec<&[u8]> {
        assert_eq!(self.datatype, "BYTES", "the type of '{}'", self.name);
        let (mut bytes, mut strings) = (&self.bytes[..], Vec::new());
        while let Some((len, rest)) = bytes.split_first_chunk() {
            let (string, behind) = rest.split_at(u32::from_le_bytes(*len) as usize);
            strings.push(string);
            bytes = behind;
        }
        assert!(bytes.is_empty(), "bytes behind the strings of '{}'", self.name);
        strings
    }

    /// The values, when the tensor is FP32.
    pub fn as_f32(&self) -> Vec<f32> {
        assert_eq!(self.datatype, "FP32", "the type of '{}'", self.name);
        self.bytes.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
    }

    /// The values, when the tensor is INT64.
    pub fn as_i64(&self) -> Vec<i64> {
        assert_eq!(self.datatype, "INT64", "the type of '{}'", self.name);
        self.bytes.chunks_exact(8).map(|c| i64::from_le_bytes(c.try_into().unwrap())).collect()
    }
}

/// How far `found` is from `expected`: the largest absolute difference over the largest absolute expected
/// value. An element-wise quotient would blow up at the near-zero probabilities of a softmax, where float
/// rounding alone is large in relative terms. Infinite when the lengths differ or a value is not a number.
pub fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let largest = expected.iter().fold(0f64, |m, v| m.max(f64::from(*v).abs()));
    let mut difference = 0f64;
    for (f, e) in found.iter().zip(expected) {
        let d = (f64::from(*f) - f64::from(*e)).abs();
        if d.is_nan() {
            return f64::INFINITY;
        }
        difference = difference.max(d);
    }
    if difference == 0.0 { 0.0 } else { difference / largest }
}
