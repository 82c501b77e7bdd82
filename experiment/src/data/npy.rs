//! NumPy's array files: `.npy`, and `.npz`, which is an archive of them.

use std::io::{Read, Seek};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use zip::ZipArchive;

use super::row::Budget;
use crate::elements::push_string;

/// An array.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The protocol's name, for example "FP32".
    pub datatype: String,
    pub shape: Vec<i64>,
    /// As in a request: little-endian and row-major; strings with their length before them.
    pub bytes: Vec<u8>,
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// The arrays of an `.npz` file, by name.
pub fn read_archive(
    file: impl Read + Seek,
    path: &Path,
    budget: &mut Budget,
) -> Result<Vec<(String, Array)>> {
    let wrong = || format!("{} is not an .npz file", path.display());
    let mut archive = ZipArchive::new(file).with_context(wrong)?;
    let mut arrays = Vec::new();
    for number in 0..archive.len() {
        let member = archive.by_index(number).with_context(wrong)?;
        let name = member.name().with_context(wrong)?;
        let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
        let place = || format!("{}, array '{name}'", path.display());
        let size = member.size();
        budget.take(size, path)?;
        let mut bytes = Vec::new();
        // What the archive says may be wrong.
        member.take(size).read_to_end(&mut bytes).with_context(place)?;
        arrays.push((name.clone(), parse(&bytes).with_context(place)?));
    }
    Ok(arrays)
}

/// The contents of an `.npy` file.
///
/// # Errors
/// What is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<Array> {
    let broken = "it is not an .npy file, or not all of one";
    let rest = bytes.strip_prefix(MAGIC).context(broken)?;
    let (version, rest) = rest.split_first_chunk::<2>().context(broken)?;
    let (length, rest) = match version[0] {
        1 => rest.split_first_chunk().map(|(length, rest)| (u32::from(u16::from_le_bytes(*length)), rest)),
        2 | 3 => rest.split_first_chunk().map(|(length, rest)| (u32::from_le_bytes(*length), rest)),
        other => bail!("it has version {other} of the .npy format: expected 1 to 3"),
    }
    .context(broken)?;
    let (header, data) = rest.split_at_checked(length as usize).context(broken)?;
    let header = std::str::from_utf8(header).context(broken)?;
    let value =
        |key: &str| value(header, key).with_context(|| format!("its header has no '{key}': {header:?}"));
    let description = value("descr")?;
    let description = description.trim_matches(['\'', '"']);
    let fortran = match value("fortran_order")? {
        "True" => true,
        "False" => false,
        other => bail!("its header has the fortran_order {other:?}: expected True or False"),
    };
    let shape = dims(value("shape")?).with_context(|| format!("its header has an odd shape: {header:?}"))?;
    let kind = Kind::of(description)?;
    let elements = shape
        .iter()
        .try_fold(1_usize, |elements, dim| elements.checked_mul(*dim))
        .filter(|elements| elements.checked_mul(kind.size) == Some(data.len()))
        .with_context(|| {
            format!("shape {shape:?} of {description} does not fit {} bytes of data", data.len())
        })?;
    let element = |number: usize| &data[number * kind.size..(number + 1) * kind.size];
    let mut converted = Vec::with_capacity(data.len());
    for number in 0..elements {
        kind.push(&mut converted, element(if fortran { in_columns(number, &shape) } else { number }))?;
    }
    let shape = shape.iter().map(|dim| *dim as i64).collect();
    Ok(Array { datatype: kind.datatype.to_owned(), shape, bytes: converted })
}

/// The value of a key of the header, which is a literal of Python.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let quoted = [format!("'{key}'"), format!("\"{key}\"")];
    let (_, after) = quoted.iter().find_map(|quoted| header.split_once(quoted.as_str()))?;
    let after = after.trim_start().strip_prefix(':')?.trim_start();
    let end = match after.chars().next()? {
        '(' => after.find(')')? + 1,
        '[' => after.find(']')? + 1,
        quote @ ('\'' | '"') => after[1..].find(quote)? + 2,
        _ => after.find([',', '}'])?,
    };
    Some(after[..end].trim())
}

fn dims(tuple: &str) -> Option<Vec<usize>> {
    let inner = tuple.strip_prefix('(')?.strip_suffix(')')?;
    let dims = inner.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    dims.map(|dim| dim.trim_end_matches('L').parse().ok()).collect()
}

/// Where the element with this number in row-major order is in column-major order.
fn in_columns(number: usize, shape: &[usize]) -> usize {
    let (mut rest, mut at, mut stride) = (number, 0, shape.iter().product::<usize>());
    for dim in shape.iter().rev() {
        stride /= dim;
        at += rest % dim * stride;
        rest /= dim;
    }
    at
}

/// A datatype of NumPy.
struct Kind {
    datatype: &'static str,
    size: usize,
    big_endian: bool,
    text: Option<char>,
}

impl Kind {
    /// # Errors
    /// The protocol has none like it.
    fn of(description: &str) -> Result<Self> {
        let wrong = || {
            format!(
                "its datatype {description:?} cannot be sent: expected one like <f4, <i8, |u1, |b1, <U5 or |S5 (save \
                 objects as strings)"
            )
        };
        let mut letters = description.chars();
        let order = letters.next().with_context(wrong)?;
        let kind = letters.next().with_context(wrong)?;
        let size: usize = letters.as_str().parse().ok().with_context(wrong)?;
        let datatype = match (kind, size) {
            ('f', 2) => "FP16",
            ('f', 4) => "FP32",
            ('f', 8) => "FP64",
            ('i', 1) => "INT8",
            ('i', 2) => "INT16",
            ('i', 4) => "INT32",
            ('i', 8) => "INT64",
            ('u', 1) => "UINT8",
            ('u', 2) => "UINT16",
            ('u', 4) => "UINT32",
            ('u', 8) => "UINT64",
            ('b', 1) => "BOOL",
            // NumPy has none; ml_dtypes saves it so.
            ('V', 2) => "BF16",
            ('S' | 'U', _) => "BYTES",
            _ => bail!(wrong()),
        };
        let text = (datatype == "BYTES").then_some(kind);
        let size = if kind == 'U' { size.checked_mul(4).with_context(wrong)? } else { size };
        ensure!(matches!(order, '<' | '>' | '|' | '='), wrong());
        Ok(Self { datatype, size, big_endian: order == '>', text })
    }

    fn push(&self, bytes: &mut Vec<u8>, element: &[u8]) -> Result<()> {
        match self.text {
            None if self.big_endian => bytes.extend(element.iter().rev()),
            None => bytes.extend(element),
            Some('U') => {
                let code = |four: &[u8]| {
                    let four: [u8; 4] = four.try_into().expect("four bytes");
                    if self.big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
                };
                let text: String = element
                    .chunks_exact(4)
                    .map(|four| char::from_u32(code(four)).context("it has a string that is not Unicode"))
                    .collect::<Result<_>>()?;
                push_string(bytes, text.trim_end_matches('\0').as_bytes())?;
            }
            Some(_) => {
                let length = element.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                push_string(bytes, &element[..length])?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Cursor, Write};

    use proptest::prelude::*;

    use super::*;

    /// An `.npy` file.
    pub fn file(description: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{description}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let length = (header.len() as u16).to_le_bytes();
        [MAGIC, &[1, 0], &length, header.as_bytes(), data].concat()
    }

    #[test]
    fn numbers_are_read_in_any_order_of_bytes_and_axes() {
        let expected = |datatype: &str, shape: &[i64], bytes: Vec<u8>| Array {
            datatype: datatype.into(),
            shape: shape.into(),
            bytes,
        };
        let floats = [1.0_f32, -2.5].map(f32::to_le_bytes).concat();
        assert_eq!(
            parse(&file("<f4", "False", "(2,)", &floats)).unwrap(),
            expected("FP32", &[2], floats.clone())
        );
        let swapped = [1.0_f32, -2.5].map(f32::to_be_bytes).concat();
        assert_eq!(
            parse(&file(">f4", "False", "(1, 2)", &swapped)).unwrap(),
            expected("FP32", &[1, 2], floats)
        );
        assert_eq!(parse(&file("|u1", "False", "()", &[7])).unwrap(), expected("UINT8", &[], vec![7]));
        assert_eq!(parse(&file("<i8", "False", "(0, 3)", &[])).unwrap(), expected("INT64", &[0, 3], vec![]));
        // [[1, 2, 3], [4, 5, 6]], column by column.
        let columns = parse(&file("|i1", "True", "(2, 3)", &[1, 4, 2, 5, 3, 6])).unwrap();
        assert_eq!(columns, expected("INT8", &[2, 3], vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn strings_of_both_kinds_lose_their_padding() {
        let narrow = parse(&file("|S3", "False", "(2,)", b"ab\0c\0\0")).unwrap();
        assert_eq!(
            (narrow.datatype.as_str(), narrow.bytes.as_slice()),
            ("BYTES", &b"\x02\0\0\0ab\x01\0\0\0c"[..])
        );
        let wide: Vec<u8> = ['\u{e4}', '\0'].iter().flat_map(|c| u32::from(*c).to_le_bytes()).collect();
        assert_eq!(parse(&file("<U2", "False", "(1,)", &wide)).unwrap().bytes, b"\x02\0\0\0\xc3\xa4");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for (bytes, part) in [
            (b"PK\x03\x04".to_vec(), "not an .npy file"),
            (file("|O", "False", "(1,)", &[0; 8]), "\"|O\" cannot be sent"),
            (file("<c8", "False", "(1,)", &[0; 8]), "cannot be sent"),
            (file("<f4", "False", "(3,)", &[0; 8]), "[3] of <f4 does not fit 8 bytes"),
            (file("<f4", "Maybe", "(2,)", &[0; 8]), "fortran_order"),
            (file("<f4", "False", "(18446744073709551615, 2)", &[0; 8]), "does not fit"),
            (file("<f4", "False", "2", &[0; 8]), "odd shape"),
        ] {
            let error = format!("{:#}", parse(&bytes).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn an_archive_is_several_arrays() {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, values) in [("x.npy", [1, 2]), ("y.npy", [3, 4])] {
            writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(&file("|u1", "False", "(2,)", &values)).unwrap();
        }
        let archive = writer.finish().unwrap();
        let read = |limit| read_archive(archive.clone(), Path::new("a.npz"), &mut Budget(limit));
        let arrays = read(10_000).unwrap();
        let names: Vec<&str> = arrays.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x", "y"]);
        assert_eq!(arrays[1].1.bytes, [3, 4]);
        let error = read(100).unwrap_err().to_string();
        assert!(error.contains("a.npz: with it the data have more than"), "{error}");
        let error = read_archive(Cursor::new(b"no"), Path::new("b.npz"), &mut Budget(9)).unwrap_err();
        assert!(error.to_string().contains("b.npz is not an .npz file"), "{error}");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), header in ".{0,80}") {
            let _ = parse(&bytes);
            let length = (header.len() as u16).to_le_bytes();
            let _ = parse(&[MAGIC, &[1, 0], &length, header.as_bytes(), &bytes].concat());
        }
    }
}
