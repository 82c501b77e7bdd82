//! SavedModels that this TensorFlow does not understand: written by a newer one, or with custom operations. The error
//! says which.

use std::fs;

use crate::load_errors::{copy_folder, fresh_folder};
use crate::support::*;

/// A field of a protocol buffer that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    write_varint(&mut field, bytes.len() as u64);
    field.extend_from_slice(bytes);
    field
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a whole number");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// Merges `graph` into the graph of a SavedModel's only meta graph. A field that comes twice is merged by those
/// who read it, so it is enough to put the addition behind what is there.
fn with_graph(saved_model: &[u8], graph: &[u8]) -> Vec<u8> {
    // SavedModel { int64 saved_model_schema_version = 1; repeated MetaGraphDef meta_graphs = 2; }
    // MetaGraphDef { GraphDef graph_def = 2; }
    let (mut rest, mut changed) = (saved_model, Vec::new());
    while !rest.is_empty() {
        match read_varint(&mut rest) {
            0x08 => {
                changed.push(0x08);
                write_varint(&mut changed, read_varint(&mut rest));
            }
            0x12 => {
                let length = read_varint(&mut rest) as usize;
                let (meta_graph, others) = rest.split_at(length);
                rest = others;
                changed.extend(field(2, &[meta_graph, &field(2, graph)].concat()));
            }
            other => panic!("a SavedModel has no field of tag {other}"),
        }
    }
    changed
}

#[test]
fn a_saved_model_that_tensorflow_does_not_understand_is_refused_and_the_message_says_why() {
    let server = shared_server();
    // GraphDef { VersionDef versions = 4; } VersionDef { int32 producer = 1; int32 min_consumer = 2; }
    let [written_by, read_by] = [0x08, 0x10].map(|field| {
        let mut version = vec![field];
        write_varint(&mut version, 1_000_000);
        version
    });
    // GraphDef { repeated NodeDef node = 1; } NodeDef { string name = 1; string op = 2; }
    let unknown = [field(1, b"from_the_future"), field(2, b"OpOfTheFuture")].concat();
    let mut faults = Vec::new();
    let newer = [field(1, &unknown), field(4, &written_by)].concat();
    let too_new = "too new for this TensorFlow";
    for (name, graph, told) in [
        ("asks_for_a_newer_reader", field(4, &read_by), ["min consumer version", "1000000", too_new]),
        ("has_an_operation_of_the_future", newer, ["OpOfTheFuture", "not registered", too_new]),
        (
            "has_a_custom_operation",
            field(1, &unknown),
            ["OpOfTheFuture", "not registered", "custom op library"],
        ),
    ] {
        let folder = fresh_folder(name);
        copy_folder(&SavedModel::Small("add_one").folder(), &folder);
        let file = folder.join("saved_model.pb");
        let saved_model = fs::read(&file).expect("the copy can be read");
        fs::write(&file, with_graph(&saved_model, &graph)).expect("the copy can be written");
        match server.try_load(&add_one_config(name, 8), SavedModel::Folder(&folder)) {
            Ok(()) => faults.push(format!("{name}: loaded")),
            Err(message) => {
                println!("{message}");
                let lowercase = message.to_lowercase();
                for part in [name, "tensorflow 2.", "savedmodel", "export"].into_iter().chain(told) {
                    if !lowercase.contains(&part.to_lowercase()) {
                        faults.push(format!("{name}: '{part}' missing in: {message}"));
                    }
                }
                // A TensorFlow that is older than the one that wrote the model cannot know, and says both.
                let written_by_newer = message.contains("wrote it");
                if message.contains(too_new) != (told.contains(&too_new) || written_by_newer) {
                    faults.push(format!("{name}: is it too new? {message}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    server.load(&add_one_config("not_too_new", 8), SavedModel::Small("add_one"));
}
