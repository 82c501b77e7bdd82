//! Rows in files and folders.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::image;
use super::json::{self, Found};
use super::npy::{self, Array};
use super::row::{Budget, Form, Row, Tensor};
use crate::answers::Strings;
use crate::elements::push_string;
use crate::load::tensor_size;
use crate::plan::ImageScaling as Scaling;

/// JSON takes many times its size while it is read.
const LARGEST_JSON: u64 = 256 << 20;

/// Folders in folders, for samples of several files.
const DEEPEST: usize = 2;

/// The rows of a file; of a folder, those of all its files in the order of their names.
pub fn read(
    path: &Path,
    inputs: &[Form],
    outputs: &[Form],
    scaling: Scaling,
    budget: &mut Budget,
) -> Result<Found> {
    let reader = &mut Reader { inputs, outputs, scaling, budget };
    let kind = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if kind.is_dir() { reader.folder(path, DEEPEST) } else { reader.file(path) }
}

struct Reader<'a> {
    inputs: &'a [Form],
    outputs: &'a [Form],
    scaling: Scaling,
    budget: &'a mut Budget,
}

impl Reader<'_> {
    fn folder(&mut self, folder: &Path, deepest: usize) -> Result<Found> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        let hidden =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        paths.retain(|path| !hidden(path));
        paths.sort();
        ensure!(!paths.is_empty(), "the folder {} is empty", folder.display());
        if paths.iter().any(|path| self.named(path).is_some()) {
            return self.by_input(folder, &paths);
        }
        let mut all = Found::default();
        for path in &paths {
            let found = match path.is_dir() {
                false => self.file(path)?,
                true if deepest > 0 => self.folder(path, deepest - 1)?,
                true => bail!("{}: there are too many folders in each other", path.display()),
            };
            all.rows.extend(found.rows);
            all.expected.extend(found.expected);
        }
        Ok(all)
    }

    /// The input that a file is called after, with or without an extension.
    fn named(&self, path: &Path) -> Option<&Form> {
        let is =
            |name: Option<&std::ffi::OsStr>, form: &Form| name.is_some_and(|name| name == form.name.as_str());
        let names = |form: &&Form| is(path.file_name(), form) || is(path.file_stem(), form);
        self.inputs.iter().find(names).filter(|_| path.is_file())
    }

    /// A folder with a file for each input.
    fn by_input(&mut self, folder: &Path, paths: &[PathBuf]) -> Result<Found> {
        let mut columns: BTreeMap<String, Vec<Tensor>> = BTreeMap::new();
        for path in paths {
            let form = self.named(path).cloned().with_context(|| {
                format!(
                    "{} is not called after an input ({}), but other files in its folder are",
                    path.display(),
                    self.names()
                )
            })?;
            let tensors = self.tensors(path, &form)?;
            ensure!(
                columns.insert(form.name.clone(), tensors).is_none(),
                "{} has two files for '{}'",
                folder.display(),
                form.name
            );
        }
        rows(columns).with_context(|| folder.display().to_string())
    }

    fn file(&mut self, path: &Path) -> Result<Found> {
        let place = || path.display().to_string();
        match extension(path).as_str() {
            kind @ ("json" | "jsonl" | "ndjson") => {
                let size = fs::metadata(path).with_context(place)?.len();
                ensure!(
                    size <= LARGEST_JSON,
                    "{} has {size} bytes, and JSON of at most {} MiB is read: give it as .npz, .npy or raw bytes",
                    path.display(),
                    LARGEST_JSON >> 20
                );
                let text = self.bytes(path)?;
                let parse = if kind == "json" { json::parse } else { json::parse_lines };
                parse(&text, self.inputs, self.outputs).with_context(place)
            }
            "npz" => {
                let file = File::open(path).with_context(place)?;
                let mut columns = BTreeMap::new();
                for (name, array) in npy::read_archive(file, path, self.budget)? {
                    let form = self.inputs.iter().find(|form| form.name == name).with_context(|| {
                        format!(
                            "{} has an array '{name}', but the model has {}",
                            path.display(),
                            self.names()
                        )
                    })?;
                    columns.insert(name, split(array, form).with_context(place)?);
                }
                rows(columns).with_context(place)
            }
            _ => {
                let [form] = self.inputs else {
                    bail!(
                        "{} is one array, but the model has {}: give a folder with a file called after each, or .npz or JSON",
                        path.display(),
                        self.names()
                    )
                };
                let form = form.clone();
                let tensors = self.tensors(path, &form)?;
                rows(BTreeMap::from([(form.name, tensors)])).with_context(place)
            }
        }
    }

    /// The rows of one input in a file.
    fn tensors(&mut self, path: &Path, form: &Form) -> Result<Vec<Tensor>> {
        let place = || path.display().to_string();
        match extension(path).as_str() {
            "npy" => split(npy::parse(&self.bytes(path)?).with_context(place)?, form),
            "png" | "jpg" | "jpeg" => {
                // What counts is the tensor, which may be much larger than the file.
                let size = tensor_size(&form.datatype, &form.row).ok().flatten().unwrap_or(0);
                self.budget.take(size as u64, path)?;
                let bytes = fs::read(path).with_context(place)?;
                image::read(&bytes, form, self.scaling).map(|tensor| vec![tensor])
            }
            kind => raw(self.bytes(path)?, kind, form),
        }
        .with_context(place)
    }

    fn bytes(&mut self, path: &Path) -> Result<Vec<u8>> {
        let place = || format!("cannot read {}", path.display());
        self.budget.take(fs::metadata(path).with_context(place)?.len(), path)?;
        fs::read(path).with_context(place)
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.inputs.iter().map(|form| form.name.as_str()).collect();
        names.join(", ")
    }
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Rows of columns.
fn rows(columns: BTreeMap<String, Vec<Tensor>>) -> Result<Found> {
    let lengths: Vec<String> =
        columns.iter().map(|(name, tensors)| format!("{} of '{name}'", tensors.len())).collect();
    let count = columns.values().map(Vec::len).max().unwrap_or(0);
    ensure!(
        columns.values().all(|tensors| tensors.len() == count),
        "there are {}: expected as many rows of each",
        lengths.join(", ")
    );
    let mut rows = vec![Row::new(); count];
    for (name, tensors) in columns {
        for (row, tensor) in rows.iter_mut().zip(tensors) {
            row.insert(name.clone(), tensor);
        }
    }
    Ok(Found { rows, expected: Vec::new() })
}

/// An array as one row, or, with a further dimension in front, as many.
fn split(array: Array, form: &Form) -> Result<Vec<Tensor>> {
    let Array { datatype, shape, bytes } = array;
    ensure!(
        datatype == form.datatype,
        "it holds {datatype}, but '{}' is {}: convert it",
        form.name,
        form.datatype
    );
    if form.check(&shape).is_ok() {
        return Ok(vec![Tensor { shape, bytes: bytes.into() }]);
    }
    let Some((&count, row)) = shape.split_first().filter(|(_, row)| form.check(row).is_ok()) else {
        bail!(
            "its shape {shape:?} is neither a row of '{}', {:?}, nor several of them (-1: any size)",
            form.name,
            form.row
        )
    };
    ensure!(count > 0, "its shape {shape:?} has no rows");
    pieces(bytes, &form.datatype, row, count as usize)
}

/// `count` rows of this shape.
fn pieces(bytes: Vec<u8>, datatype: &str, row: &[i64], count: usize) -> Result<Vec<Tensor>> {
    let mut rest = bytes::Bytes::from(bytes);
    let size = tensor_size(datatype, row)?;
    let elements = tensor_size("BOOL", row)?.unwrap_or(0);
    let pieces = (0..count).map(|_| {
        let length = match size {
            Some(size) => size,
            None => Strings(&rest).take(elements).map(|text| 4 + text.len()).sum(),
        };
        Tensor { shape: row.to_vec(), bytes: rest.split_to(length.min(rest.len())) }
    });
    Ok(pieces.collect())
}

/// Bytes without a shape: of numbers little-endian and row-major; of strings with lengths (`.raw`, `.bin`), or one in each
/// line.
fn raw(bytes: Vec<u8>, kind: &str, form: &Form) -> Result<Vec<Tensor>> {
    let Form { name, datatype, row } = form;
    ensure!(
        row.iter().all(|dim| *dim >= 0),
        "rows of '{name}' have variable dimensions {row:?}: give their sizes with --shape {name}=D,D,..., or the data as .npy \
         or JSON"
    );
    let Some(size) = tensor_size(datatype, row)? else {
        let elements = tensor_size("BOOL", row)?.unwrap_or(0);
        let (bytes, count) = strings(bytes, kind)?;
        ensure!(
            elements > 0 && count > 0 && count % elements == 0,
            "it has {count} strings, but a row of '{name}' ({row:?}) has {elements}"
        );
        return pieces(bytes, datatype, row, count / elements);
    };
    let fits =
        if size == 0 { bytes.is_empty() } else { !bytes.is_empty() && bytes.len().is_multiple_of(size) };
    ensure!(fits, "it has {} bytes, but a row of '{name}' ({datatype} {row:?}) has {size}", bytes.len());
    let count = bytes.len().checked_div(size).unwrap_or(1);
    pieces(bytes, datatype, row, count)
}

/// Strings with their lengths, and their number.
fn strings(bytes: Vec<u8>, kind: &str) -> Result<(Vec<u8>, usize)> {
    if matches!(kind, "raw" | "bin") {
        let (length, count) =
            Strings(&bytes).fold((0, 0), |(length, count), text| (length + 4 + text.len(), count + 1));
        ensure!(
            length == bytes.len(),
            "it does not hold strings with their lengths (4 bytes, little-endian) before them: call it .txt if each line is one"
        );
        return Ok((bytes, count));
    }
    let text = std::str::from_utf8(&bytes).context("it is not UTF-8: each line is taken for a string")?;
    let mut with_lengths = Vec::new();
    let mut count = 0;
    for line in text.lines() {
        push_string(&mut with_lengths, line.as_bytes())?;
        count += 1;
    }
    Ok((with_lengths, count))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::data::npy::tests::file as npy_file;
    use crate::data::row::LIMIT;

    fn form(name: &str, datatype: &str, row: &[i64]) -> Form {
        Form { name: name.to_owned(), datatype: datatype.to_owned(), row: row.to_vec() }
    }

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        folder
    }

    fn read_all(path: &Path, inputs: &[Form]) -> Result<Vec<Row>> {
        read(path, inputs, &[], Scaling::None, &mut Budget(LIMIT)).map(|found| found.rows)
    }

    fn bytes(rows: &[Row], name: &str) -> Vec<Vec<u8>> {
        rows.iter().map(|row| row[name].bytes.to_vec()).collect()
    }

    #[test]
    fn a_folder_may_have_a_file_for_each_input() {
        let inputs = [form("x", "UINT8", &[2]), form("text", "BYTES", &[1])];
        let folder = folder(&[("x", &[1, 2, 3, 4]), ("text.txt", b"one\ntwo\n"), (".DS_Store", b"?")]);
        let rows = read_all(folder.path(), &inputs).unwrap();
        assert_eq!(bytes(&rows, "x"), [[1, 2], [3, 4]]);
        assert_eq!(bytes(&rows, "text"), [b"\x03\0\0\0one", b"\x03\0\0\0two"]);
        fs::write(folder.path().join("text.txt"), "one").unwrap();
        let error = format!("{:#}", read_all(folder.path(), &inputs).unwrap_err());
        assert!(error.contains("1 of 'text', 2 of 'x'"), "{error}");
        fs::write(folder.path().join("notes.md"), "").unwrap();
        let error = format!("{:#}", read_all(folder.path(), &inputs).unwrap_err());
        assert!(error.contains("notes.md is not called after an input (x, text)"), "{error}");
    }

    #[test]
    fn a_folder_may_have_a_file_or_a_folder_for_each_sample() {
        let one = [form("x", "UINT8", &[2])];
        let array = npy_file("|u1", "False", "(2, 2)", &[5, 6, 7, 8]);
        let mixed =
            folder(&[("b.npy", &array), ("a.raw", &[1, 2]), ("c.json", br#"{"data": [{"x": [9, 9]}]}"#)]);
        let rows = read_all(mixed.path(), &one).unwrap();
        assert_eq!(bytes(&rows, "x"), [[1, 2], [5, 6], [7, 8], [9, 9]], "in the order of names");
        let two = [form("x", "UINT8", &[1]), form("y", "UINT8", &[1])];
        let samples = folder(&[("1/x", &[1]), ("1/y", &[2]), ("2/x.raw", &[3]), ("2/y.bin", &[4])]);
        let rows = read_all(samples.path(), &two).unwrap();
        assert_eq!((bytes(&rows, "x"), bytes(&rows, "y")), (vec![vec![1], vec![3]], vec![vec![2], vec![4]]));
        let error = format!("{:#}", read_all(mixed.path(), &two).unwrap_err());
        assert!(error.contains("a.raw is one array, but the model has x, y"), "{error}");
    }

    #[test]
    fn arrays_are_one_row_or_several_and_may_vary() {
        let row = |data: &[u8], shape: &str, row: &[i64]| {
            let folder = folder(&[("x.npy", &npy_file("|u1", "False", shape, data))]);
            read_all(folder.path(), &[form("x", "UINT8", row)])
        };
        assert_eq!(row(&[1, 2], "(2,)", &[2]).unwrap().len(), 1);
        assert_eq!(row(&[1, 2], "(2, 1)", &[1]).unwrap().len(), 2);
        assert_eq!(row(&[1, 2], "(1, 2)", &[-1]).unwrap()[0]["x"].shape, [2]);
        assert_eq!(row(&[], "(3, 0)", &[0]).unwrap().len(), 3);
        for (shape, data, asked, part) in [
            ("(3,)", &[0; 3][..], &[2][..], "neither a row of 'x', [2], nor several"),
            ("(0, 2)", &[], &[2], "has no rows"),
        ] {
            let error = format!("{:#}", row(data, shape, asked).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
        let strings = npy_file("|S2", "False", "(2, 2)", b"a\0bbc\0d\0");
        let folder = folder(&[("x.npy", &strings)]);
        let rows = read_all(folder.path(), &[form("x", "BYTES", &[2])]).unwrap();
        assert_eq!(bytes(&rows, "x")[1], b"\x01\0\0\0c\x01\0\0\0d");
        let error = format!("{:#}", read_all(folder.path(), &[form("x", "FP32", &[2])]).unwrap_err());
        assert!(error.contains("it holds BYTES, but 'x' is FP32"), "{error}");
    }

    #[test]
    fn raw_bytes_have_to_be_whole_rows() {
        let folder = folder(&[("x.raw", &[0; 6]), ("empty", b""), ("s.bin", b"\x01\0\0\0a")]);
        let file = |name: &str| folder.path().join(name);
        assert_eq!(read_all(&file("x.raw"), &[form("x", "INT16", &[3])]).unwrap().len(), 1);
        assert_eq!(read_all(&file("x.raw"), &[form("x", "INT16", &[1])]).unwrap().len(), 3);
        assert_eq!(read_all(&file("empty"), &[form("x", "INT16", &[0, 4])]).unwrap().len(), 1);
        assert_eq!(read_all(&file("s.bin"), &[form("x", "BYTES", &[1])]).unwrap().len(), 1);
        for (name, form, part) in [
            ("x.raw", form("x", "INT16", &[4]), "it has 6 bytes, but a row of 'x' (INT16 [4]) has 8"),
            ("empty", form("x", "INT16", &[1]), "it has 0 bytes"),
            ("x.raw", form("x", "INT16", &[-1]), "--shape x=D,D"),
            ("s.bin", form("x", "BYTES", &[2]), "it has 1 strings, but a row of 'x' ([2]) has 2"),
            ("x.raw", form("x", "BYTES", &[1]), "does not hold strings with their lengths"),
            ("nothing", form("x", "INT8", &[1]), "cannot read"),
        ] {
            let error = format!("{:#}", read_all(&file(name), &[form]).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn more_than_the_limit_is_refused_before_it_is_read() {
        let folder = folder(&[("x.raw", &[0; 100])]);
        let read =
            |limit| read(folder.path(), &[form("x", "UINT8", &[1])], &[], Scaling::None, &mut Budget(limit));
        assert_eq!(read(100).unwrap().rows.len(), 100);
        let error = format!("{:#}", read(99).unwrap_err());
        assert!(error.contains("x.raw: with it the data have more than"), "{error}");
    }
}
