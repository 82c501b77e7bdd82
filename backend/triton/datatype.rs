//! The element types that a tensor can have here: all of Triton's.

use std::fmt;

use triton_sys::TRITONSERVER_DataType as Raw;

macro_rules! data_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $raw:ident, $size:literal;)*) => {
        /// An element type, named as Triton's protocol names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum DataType { $($(#[$doc])* $name,)* }

        impl DataType {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The protocol's name, such as `FP32`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Bytes of one element in a tensor's memory; of a string, without its characters.
            pub fn byte_size(self) -> usize {
                match self { $(Self::$name => $size,)* }
            }

            /// The server's number for it.
            pub fn raw(self) -> Raw {
                match self { $(Self::$name => Raw::$raw,)* }
            }
        }
    };
}

data_types! {
    /// One byte, 0 or 1.
    Bool = "BOOL", TRITONSERVER_TYPE_BOOL, 1;
    /// Unsigned, 8 bits.
    UInt8 = "UINT8", TRITONSERVER_TYPE_UINT8, 1;
    /// Unsigned, 16 bits.
    UInt16 = "UINT16", TRITONSERVER_TYPE_UINT16, 2;
    /// Unsigned, 32 bits.
    UInt32 = "UINT32", TRITONSERVER_TYPE_UINT32, 4;
    /// Unsigned, 64 bits.
    UInt64 = "UINT64", TRITONSERVER_TYPE_UINT64, 8;
    /// Signed, 8 bits.
    Int8 = "INT8", TRITONSERVER_TYPE_INT8, 1;
    /// Signed, 16 bits.
    Int16 = "INT16", TRITONSERVER_TYPE_INT16, 2;
    /// Signed, 32 bits.
    Int32 = "INT32", TRITONSERVER_TYPE_INT32, 4;
    /// Signed, 64 bits.
    Int64 = "INT64", TRITONSERVER_TYPE_INT64, 8;
    /// IEEE half precision.
    Fp16 = "FP16", TRITONSERVER_TYPE_FP16, 2;
    /// The upper half of an FP32 (servers from 22.04 on).
    Bf16 = "BF16", TRITONSERVER_TYPE_BF16, 2;
    /// IEEE single precision.
    Fp32 = "FP32", TRITONSERVER_TYPE_FP32, 4;
    /// IEEE double precision.
    Fp64 = "FP64", TRITONSERVER_TYPE_FP64, 8;
    /// Strings of any bytes and any length. TensorFlow has 24 bytes for each, and the characters elsewhere.
    Bytes = "BYTES", TRITONSERVER_TYPE_BYTES, 24;
}

impl DataType {
    /// What follows `TYPE_` in config.pbtxt.
    pub fn config_name(self) -> &'static str {
        match self {
            Self::Bytes => "STRING",
            other => other.name(),
        }
    }

    /// The type that config.pbtxt calls `TYPE_...`.
    pub fn from_config(name: &str) -> Option<Self> {
        let name = name.strip_prefix("TYPE_")?;
        Self::ALL.iter().copied().find(|datatype| datatype.config_name() == name)
    }

    /// The type behind the server's number.
    pub fn from_raw(raw: Raw) -> Option<Self> {
        Self::ALL.iter().copied().find(|datatype| datatype.raw() == raw)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
