//! The floors of the backend.

use std::path::Path;

use crate::circles::Imports;
use crate::tree::FileId;

/// The rooms (files and folders of `backend/`) from the top floor to the ground. Rooms of one floor do not import each
/// other.
pub const FLOORS: [&[&str]; 11] = [
    &["lib"],
    &["load"],
    &["executors", "trial"],
    &["batching"],
    &["execute"],
    &["model", "model_file"],
    &["tensorflow"],
    &["energy", "signals"],
    &["config"],
    &["triton"],
    // Small files that anyone may use.
    &["buckets", "datatype", "few"],
];

/// The imports that do not go down, and the files that are on no floor.
pub fn against_floors(imports: &Imports, floors: &[&[&str]]) -> Vec<String> {
    let room = |file: FileId| room(&imports.files()[file].0);
    let floor = |room: &str| floors.iter().position(|rooms| rooms.contains(&room));
    let homeless = (0..imports.files().len()).filter(|&file| floor(&room(file)).is_none());
    let homeless = homeless.map(|file| format!("{} is on no floor", imports.path(file)));
    let up = imports.all().filter(|(from, to, _)| {
        let (from, to) = (room(*from), room(*to));
        from != to && floor(&from).zip(floor(&to)).is_some_and(|(from, to)| from >= to)
    });
    let up = up.map(|(from, to, names)| {
        let how = if floor(&room(from)) == floor(&room(to)) { "beside it" } else { "above it" };
        format!("{} -> {}, {how}: {names}", imports.path(from), imports.path(to))
    });
    homeless.chain(up).collect()
}

/// `backend/triton/request.rs` and `backend/triton.rs` are of the room `triton`.
fn room(path: &Path) -> String {
    let first = path.iter().nth(1).expect("a file of a folder");
    Path::new(first).file_stem().expect("a name").to_string_lossy().into_owned()
}
