//! Strings: Triton's BYTES, each with its length in front, and TensorFlow's `TF_TString`.
//!
//! The strings that a graph is fed are one piece of memory: the structures, and behind them the characters of those that are
//! too long to be inside theirs. Such a structure says LARGE. TensorFlow then takes a copy of the characters wherever it keeps
//! the string, where of a VIEW it would keep the address. It neither frees them nor writes to them, since it borrows the
//! memory of the tensor.
//!
//! `TF_TString` is read and written here by its layout: TensorFlow 2.4 has no functions for that in its library.

use std::alloc::{self, Layout};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::slice;

use tensorflow_c_sys::{TF_TString, TF_TString_Type};

use super::memory::{ALIGNMENT, ForeignMemory, SharedSource};
use crate::triton::{Error, Result};

/// Bytes of a structure.
const STRING: usize = size_of::<TF_TString>();
/// The longest string that is inside its structure, behind the byte with its length and before a null byte.
const LONGEST_INSIDE: usize = STRING - 2;
/// Bytes of the length in front of a string: little-endian, without a sign.
pub const PREFIX: usize = size_of::<u32>();

/// The strings of a tensor that is not made yet: they are appended one request after the other.
#[derive(Debug)]
pub struct Strings {
    memory: NonNull<u8>,
    layout: Layout,
    /// How many there are to be.
    count: usize,
    /// How many there are. Behind them the structures are zero: empty strings.
    filled: usize,
    /// Where in the memory the next characters go.
    used: usize,
}

// SAFETY: the memory is the value's own.
unsafe impl Send for Strings {}

impl Strings {
    /// So many empty strings, and room for what is to be read from so many bytes.
    ///
    /// # Errors
    /// There is no memory for them.
    pub fn new(count: usize, bytes: usize) -> Result<Self> {
        let no_memory =
            || Error::internal(format!("no memory for {count} strings with {bytes} bytes of characters"));
        let structures = count.checked_mul(STRING).ok_or_else(no_memory)?;
        let size = structures.checked_add(bytes).ok_or_else(no_memory)?;
        let layout = Layout::from_size_align(size.max(1), ALIGNMENT).map_err(|_| no_memory())?;
        // SAFETY: the layout's size is not 0.
        let memory = NonNull::new(unsafe { alloc::alloc(layout) }).ok_or_else(no_memory)?;
        // SAFETY: the memory is new and at least as large.
        unsafe { ptr::write_bytes(memory.as_ptr(), 0, structures) }
        Ok(Self { memory, layout, count, filled: 0, used: structures })
    }

    /// Reads `count` strings from `source`; all of it, unless it `may_go_on` behind them.
    ///
    /// # Errors
    /// `source` does not hold so many, or something else besides.
    ///
    /// # Panics
    /// There is no room for them.
    pub fn append<S: SharedSource + ?Sized>(
        &mut self,
        count: usize,
        source: &S,
        may_go_on: bool,
    ) -> Result<()> {
        let (mut at, end) = (0, source.len());
        for index in 0..count {
            let mut prefix = [0; PREFIX];
            let is_there = end - at >= PREFIX;
            if is_there {
                source.copy_part(at, as_room(&mut prefix));
                at += PREFIX;
            }
            // Read once: in shared memory the client may change it.
            let len = u32::from_le_bytes(prefix) as usize;
            if !is_there || len > end - at {
                return Err(incomplete(count, index, is_there.then_some(len), end - at));
            }
            source.copy_part(at, self.push(len));
            at += len;
        }
        if at < end && !may_go_on { Err(left_over(count, end - at)) } else { Ok(()) }
    }

    /// Makes one more string, of so many characters, which are to be written to what is returned.
    fn push(&mut self, len: usize) -> &mut [MaybeUninit<u8>] {
        assert!(self.filled < self.count, "there is room for {} strings", self.count);
        // SAFETY: below `count`, so it is within the structures, which are aligned (64 bytes in front, 24 each), initialised, and
        // in memory that nobody else has.
        let string = unsafe { &mut *self.memory.cast::<TF_TString>().as_ptr().add(self.filled) };
        self.filled += 1;
        if len <= LONGEST_INSIDE {
            // SAFETY: all bytes of the structure are initialised, as zeros.
            let bytes = unsafe { &mut string.u.raw.raw };
            bytes[0] = (len as u8) << 2 | TF_TString_Type::TF_TSTR_SMALL.0 as u8;
            return as_room(&mut bytes[1..=len]);
        }
        assert!(len < self.layout.size() - self.used, "there is room for the characters");
        // SAFETY: `len` bytes and one more are within the memory.
        let characters = unsafe { self.memory.as_ptr().add(self.used) };
        self.used += len + 1;
        string.u.large.size = len << 2 | TF_TString_Type::TF_TSTR_LARGE.0 as usize;
        string.u.large.cap = len;
        string.u.large.ptr = characters.cast();
        // SAFETY: as above; nothing else refers to these bytes, and `self` is borrowed for as long as the slice lives.
        unsafe {
            characters.add(len).write(0);
            slice::from_raw_parts_mut(characters.cast(), len)
        }
    }

    /// All of them, for tests and the fuzz target.
    #[cfg_attr(not(test), allow(dead_code))]
    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let structures = self.memory.cast::<TF_TString>().as_ptr();
        // SAFETY: the structures are initialised, and `self`, which has the characters too, is borrowed.
        (0..self.count).map(move |index| unsafe { characters(&*structures.add(index)) })
    }

    /// Fills what is left with copies of the last `unit` strings that are there.
    ///
    /// # Panics
    /// There are not as many, or there is something to fill and nothing to copy.
    pub fn repeat_last(&mut self, unit: usize) {
        let start = self.filled.checked_sub(unit).expect("as many strings as are to be copied");
        assert!(unit > 0 || self.filled == self.count, "copies of nothing do not fill a tensor");
        // SAFETY: the structures are initialised and in memory that nobody else has. Copies share their characters.
        let all = unsafe { slice::from_raw_parts_mut(self.memory.cast::<TF_TString>().as_ptr(), self.count) };
        for index in self.filled..self.count {
            all[index] = all[start + (index - self.filled) % unit];
        }
        self.filled = self.count;
    }
}

impl Drop for Strings {
    fn drop(&mut self) {
        // SAFETY: the memory is from `new`, with this layout.
        unsafe { alloc::dealloc(self.memory.as_ptr(), self.layout) }
    }
}

// SAFETY: the structures are initialised, at one place until the value is dropped, and once they are lent nothing here writes to
// them or to their characters.
unsafe impl ForeignMemory for Strings {
    fn ptr(&self) -> *const u8 {
        self.memory.as_ptr()
    }

    fn len(&self) -> usize {
        self.count * STRING
    }
}

/// The characters of a string.
///
/// # Safety
/// The structure is initialised. Its characters stay where they are, and nobody writes to them, for as long as the
/// structure is borrowed.
pub unsafe fn characters(string: &TF_TString) -> &[u8] {
    let start = ptr::from_ref(string).cast::<u8>();
    // SAFETY: the two lowest bits of the first byte say which member is valid, and the caller vouches for it.
    let (data, len) = unsafe {
        let first = string.u.raw.raw[0];
        match TF_TString_Type(u32::from(first) & TF_TString_Type::TF_TSTR_TYPE_MASK.0) {
            TF_TString_Type::TF_TSTR_SMALL => (start.add(1), usize::from(first >> 2)),
            TF_TString_Type::TF_TSTR_LARGE => {
                (string.u.large.ptr.cast_const().cast(), string.u.large.size >> 2)
            }
            TF_TString_Type::TF_TSTR_VIEW => (string.u.view.ptr.cast(), string.u.view.size >> 2),
            _ => (start.add(string.u.offset.offset as usize), (string.u.offset.size >> 2) as usize),
        }
    };
    if len == 0 || data.is_null() {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { slice::from_raw_parts(data, len) }
}

/// Initialised bytes as room for others.
fn as_room(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: the layout is the same. Whoever gets it writes bytes or nothing, so these stay initialised.
    unsafe { slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
}

#[cold]
#[inline(never)]
fn incomplete(count: usize, index: usize, len: Option<usize>, left: usize) -> Error {
    Error::invalid(match len {
        None if left == 0 => {
            format!("expected {count} string elements, each with its length in front, found {index}")
        }
        None => format!(
            "incomplete string length indicator: expected {PREFIX} bytes in front of string {index} (of {count}, the first is \
             0), found {left}"
        ),
        Some(len) => format!(
            "incomplete string data: expected {len} bytes of string {index} (of {count}, the first is 0), by the length in front \
             of it, found {left}"
        ),
    })
}

#[cold]
#[inline(never)]
fn left_over(count: usize, left: usize) -> Error {
    Error::invalid(format!(
        "unexpected number of string elements: expected {count}, found {left} bytes behind the last of them"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serialized(strings: &[&[u8]]) -> Vec<u8> {
        strings.iter().flat_map(|text| [&(text.len() as u32).to_le_bytes(), *text].concat()).collect()
    }

    fn read(strings: &Strings) -> Vec<&[u8]> {
        strings.texts().collect()
    }

    #[test]
    fn strings_of_every_length_are_what_was_read() {
        let all: Vec<Vec<u8>> =
            (0..70_usize).map(|len| (0..len).map(|at| (at * 7) as u8).collect()).collect();
        let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        let (front, back) = (serialized(&all[..30]), serialized(&all[30..]));
        let mut strings = Strings::new(75, front.len() + back.len()).unwrap();
        strings.append(30, &front[..], false).unwrap();
        strings.append(40, &back[..], false).unwrap();
        assert_eq!(read(&strings)[69..], [all[69], b"", b"", b"", b"", b""]);
        strings.repeat_last(2);
        assert_eq!(read(&strings), [&all[..], &[all[68], all[69], all[68], all[69], all[68]]].concat());
    }

    #[test]
    fn the_layout_is_tensorflows() {
        assert_eq!((STRING, align_of::<TF_TString>()), (24, 8));
        // Byte by byte. That TensorFlow reads it so is seen in `tests/strings.rs`.
        let mut strings = Strings::new(2, 60).unwrap();
        strings.append(2, &serialized(&[b"ab", &[b'x'; 40]])[..], false).unwrap();
        // SAFETY: the structures are initialised.
        let structures = unsafe { slice::from_raw_parts(strings.memory.as_ptr(), 2 * STRING) };
        assert_eq!(structures[..4], [2 << 2, b'a', b'b', 0]);
        assert_eq!(structures[24..40], [[161, 0, 0, 0, 0, 0, 0, 0], [40, 0, 0, 0, 0, 0, 0, 0]].concat());
        // SAFETY: the characters and the null byte behind them are within the memory.
        assert_eq!(unsafe { *strings.memory.as_ptr().add(2 * STRING + 40) }, 0, "C's functions find the end");
    }

    #[test]
    fn characters_are_found_wherever_they_are() {
        let text = b"somewhere else";
        // SAFETY: zeros are an empty string.
        let mut pair: [TF_TString; 2] = unsafe { std::mem::zeroed() };
        pair[0].u.view.size = text.len() << 2 | TF_TString_Type::TF_TSTR_VIEW.0 as usize;
        pair[0].u.view.ptr = text.as_ptr().cast();
        // SAFETY: the structure is initialised, and the text lives as long as the program.
        assert_eq!(unsafe { characters(&pair[0]) }, text);
        // SAFETY: an array of bytes may be written to.
        unsafe { pair[1].u.raw.raw[..5].copy_from_slice(b"apart") }
        pair[0].u.offset.size = 5 << 2 | TF_TString_Type::TF_TSTR_OFFSET.0;
        pair[0].u.offset.offset = STRING as u32;
        // SAFETY: the structure is initialised, and its characters are in the next one.
        assert_eq!(unsafe { characters(&*pair.as_ptr()) }, b"apart");
    }

    #[test]
    fn what_is_no_list_of_strings_is_told() {
        let error = |count, bytes: &[u8]| {
            Strings::new(count, bytes.len()).unwrap().append(count, bytes, false).unwrap_err().message
        };
        let two = serialized(&[b"a", b"bc"]);
        assert_eq!(error(3, &two), "expected 3 string elements, each with its length in front, found 2");
        assert!(error(1, &two).contains("unexpected number of string elements: expected 1, found 6 bytes"));
        let mut first = Strings::new(1, two.len()).unwrap();
        first.append(1, &two[..], true).unwrap();
        assert_eq!(read(&first), [b"a"]);
        assert!(error(2, &two[..7]).contains("incomplete string length indicator: expected 4 bytes"));
        assert!(error(2, &two[..10]).contains("incomplete string data: expected 2 bytes of string 1"));
        assert!(error(1, &[255; 9]).contains("expected 4294967295 bytes of string 0"));
        assert!(error(0, &[0]).contains("expected 0, found 1 bytes"));
        assert!(Strings::new(usize::MAX / 16, 0).is_err() && Strings::new(1, usize::MAX - 30).is_err());
    }
}
