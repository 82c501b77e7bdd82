//! Element types as TensorFlow numbers and names them (`types.proto`; the C API's `TF_DataType` has the same numbers).

use crate::triton::DataType;

/// `DT_FLOAT`.
pub const FLOAT: i32 = 1;

/// A type that refers to a variable of TensorFlow 1 has the number of the value's type and 100 more.
const REFERENCES: i32 = 100;

/// The types that TensorFlow has, by number from 1 on.
const NAMES: [&str; 32] = [
    "FLOAT",
    "DOUBLE",
    "INT32",
    "UINT8",
    "INT16",
    "INT8",
    "STRING",
    "COMPLEX64",
    "INT64",
    "BOOL",
    "QINT8",
    "QUINT8",
    "QINT32",
    "BFLOAT16",
    "QINT16",
    "QUINT16",
    "UINT16",
    "COMPLEX128",
    "HALF",
    "RESOURCE",
    "VARIANT",
    "UINT32",
    "UINT64",
    "FLOAT8_E5M2",
    "FLOAT8_E4M3FN",
    "FLOAT8_E4M3FNUZ",
    "FLOAT8_E4M3B11FNUZ",
    "FLOAT8_E5M2FNUZ",
    "INT4",
    "UINT4",
    "INT2",
    "UINT2",
];

/// TensorFlow's number.
pub fn number(datatype: DataType) -> i32 {
    match datatype {
        DataType::Fp32 => FLOAT,
        DataType::Fp64 => 2,
        DataType::Int32 => 3,
        DataType::UInt8 => 4,
        DataType::Int16 => 5,
        DataType::Int8 => 6,
        DataType::Bytes => 7,
        DataType::Int64 => 9,
        DataType::Bool => 10,
        DataType::Bf16 => 14,
        DataType::UInt16 => 17,
        DataType::Fp16 => 19,
        DataType::UInt32 => 22,
        DataType::UInt64 => 23,
    }
}

/// The type behind TensorFlow's number; nothing for types that this backend does not have.
pub fn from_number(found: i32) -> Option<DataType> {
    DataType::ALL.iter().copied().find(|&datatype| number(datatype) == found)
}

/// The number of the values' type where `found` is that of references to them.
pub fn of_values(found: i32) -> i32 {
    if found > REFERENCES { found - REFERENCES } else { found }
}

/// TensorFlow's name, such as `DT_STRING`.
pub fn name(number: i32) -> String {
    let known = |number: i32| NAMES.get(usize::try_from(number - 1).ok()?);
    match (known(number), known(of_values(number))) {
        (Some(name), _) => format!("DT_{name}"),
        (None, Some(name)) => format!("DT_{name}_REF"),
        (None, None) => format!("of type {number}, which is unknown here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_tensorflows() {
        for &datatype in DataType::ALL {
            assert_eq!(from_number(number(datatype)), Some(datatype));
        }
        assert_eq!(from_number(8), None, "Triton has no complex numbers");
        assert_eq!((name(7), name(19), name(23)), ("DT_STRING".into(), "DT_HALF".into(), "DT_UINT64".into()));
        assert_eq!((name(101), name(32)), ("DT_FLOAT_REF".into(), "DT_UINT2".into()));
        assert_eq!((name(0), name(-1)).0, "of type 0, which is unknown here");
        assert_eq!((of_values(101), of_values(20)), (FLOAT, 20));
    }
}
