//! Strings as TensorFlow takes and returns them.

use super::{options, test_model};
use crate::tensorflow::run_options::RunOptions;
use crate::tensorflow::session::Session;
use crate::tensorflow::strings::Strings;
use crate::tensorflow::tensor::{Blank, Tensor};
use crate::triton::DataType;

fn tensor(dims: &[i64], all: &[Vec<u8>]) -> Tensor {
    let serialized: Vec<u8> =
        all.iter().flat_map(|text| [&(text.len() as u32).to_le_bytes(), &text[..]].concat()).collect();
    let mut strings = Strings::new(all.len(), serialized.len()).expect("there is memory");
    strings.append(all.len(), &serialized[..], false).expect("these are strings");
    Tensor::of_strings(dims, strings).expect("as many as the shape says")
}

/// Of all lengths about the longest that is inside its structure, and of many more.
fn all() -> Vec<Vec<u8>> {
    let text = |len: usize| (0..len).map(|at| b"ab\0c\xff"[at % 5]).collect();
    (0..70).chain([4095, 4096, 1 << 20]).map(text).collect()
}

#[test]
fn strings_of_every_length_go_through_a_graph() {
    let session = Session::open(&test_model("text"), &options("serve")).expect("the model loads");
    let all = all();
    let dims = [all.len() as i64, 1];
    let x = tensor(&dims, &all);
    assert_eq!((x.datatype(), x.dims()), (DataType::Bytes, &dims[..]));
    assert!(x.strings().eq(all.iter().map(Vec::as_slice)));
    let inputs = [x];
    let outputs = session.run(&inputs, &[0], RunOptions::DEFAULT).expect("a run");
    let upper = all.iter().map(|text| text.to_ascii_uppercase());
    assert!(outputs[0].strings().eq(upper));
    assert_eq!(outputs[0].dims(), dims);
}

#[test]
fn strings_that_a_variable_keeps_are_its_own() {
    let session = Session::open(&test_model("remembers_text"), &options("serve")).expect("the model loads");
    let pair = |number: usize| vec![vec![b'a' + number as u8; 5], vec![b'a' + number as u8; 5000]];
    for number in 0..20 {
        let inputs = [tensor(&[1, 2], &pair(number))];
        let outputs = session.run(&inputs, &[0], RunOptions::DEFAULT).expect("a run");
        let before = if number == 0 { vec![Vec::new(); 2] } else { pair(number - 1) };
        assert!(outputs[0].strings().eq(before.iter().map(Vec::as_slice)), "run {number}");
    }
}

#[test]
fn empty_strings_and_none_are_tensors_too() {
    let session = Session::open(&test_model("text"), &options("serve")).expect("the model loads");
    for count in [0, 3] {
        let inputs = [Tensor::zeroed(DataType::Bytes, &[count, 1]).expect("a tensor")];
        let outputs = session.run(&inputs, &[0], RunOptions::DEFAULT).expect("a run");
        assert_eq!(outputs[0].dims(), [count, 1]);
        assert!(outputs[0].strings().eq(vec![b""; count as usize]));
    }
    let two = Strings::new(2, 0).expect("there is memory");
    assert!(Tensor::of_strings(&[3, 1], two).is_err());
    Blank::new(DataType::Bytes, &[1]).expect_err("any bytes are no strings");
}
