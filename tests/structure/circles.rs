//! Who imports whom, and the circles in it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use crate::tree::FileId;

/// The imports between the files of a package.
pub struct Imports {
    files: Vec<(PathBuf, bool)>,
    edges: BTreeMap<FileId, BTreeMap<FileId, Edge>>,
}

#[derive(Default)]
struct Edge {
    names: BTreeSet<String>,
    /// Whether code that is not for tests only has a part in it.
    in_earnest: bool,
}

impl Imports {
    pub fn new(files: impl Iterator<Item = (PathBuf, bool)>) -> Self {
        Self { files: files.collect(), edges: BTreeMap::new() }
    }

    pub fn add(&mut self, from: FileId, to: FileId, name: String, in_test: bool) {
        let edge = self.edges.entry(from).or_default().entry(to).or_default();
        edge.names.insert(name);
        edge.in_earnest |= !in_test;
    }

    /// The files, each with whether it is a test's.
    pub fn files(&self) -> &[(PathBuf, bool)] {
        &self.files
    }

    /// From, to and the names, without the imports of test files.
    pub fn all(&self) -> impl Iterator<Item = (FileId, FileId, String)> {
        let sources = self.edges.iter().filter(|(from, _)| !self.files[**from].1);
        sources.flat_map(|(&from, targets)| targets.iter().map(move |(&to, edge)| (from, to, names(edge))))
    }

    pub fn path(&self, file: FileId) -> String {
        self.files[file].0.display().to_string()
    }

    /// The files that this one imports. A test file is no part of a circle: nothing imports it.
    fn targets(&self, from: FileId) -> impl Iterator<Item = FileId> {
        let targets = self.edges.get(&from).into_iter().flat_map(|targets| targets.keys().copied());
        targets.filter(move |&to| !self.files[from].1 && !self.files[to].1)
    }

    /// The files that can be come to from this one.
    fn reachable(&self, from: FileId) -> BTreeSet<FileId> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            open.extend(self.targets(file).filter(|&to| seen.insert(to)));
        }
        seen
    }

    /// The shortest way from a file back to itself.
    fn shortest_circle(&self, from: FileId) -> Vec<FileId> {
        let mut before = BTreeMap::new();
        let mut open = VecDeque::from([from]);
        while let Some(file) = open.pop_front() {
            for to in self.targets(file) {
                if to == from {
                    let mut way = vec![file];
                    while way[way.len() - 1] != from {
                        way.push(before[&way[way.len() - 1]]);
                    }
                    way.reverse();
                    return way;
                }
                if let Entry::Vacant(unseen) = before.entry(to) {
                    unseen.insert(file);
                    open.push_back(to);
                }
            }
        }
        Vec::new()
    }
}

fn names(edge: &Edge) -> String {
    edge.names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Each set of files that import each other in a circle: the files, the shortest circle among them, and all imports
/// between them, with the names that tie them.
pub fn circles(imports: &Imports) -> Vec<String> {
    let reachable: Vec<BTreeSet<FileId>> =
        (0..imports.files.len()).map(|file| imports.reachable(file)).collect();
    let mut told = BTreeSet::<FileId>::new();
    let mut circles = Vec::new();
    for file in 0..imports.files.len() {
        if told.contains(&file) || !reachable[file].contains(&file) {
            continue;
        }
        let mutual = |other: &FileId| reachable[*other].contains(&file);
        let members: BTreeSet<FileId> = reachable[file].iter().copied().filter(mutual).collect();
        told.extend(&members);
        let shortest = members.iter().map(|&member| imports.shortest_circle(member));
        let shortest = shortest.min_by_key(Vec::len).expect("a circle has members");
        let line = |from: FileId, to: FileId| {
            let names = names(&imports.edges[&from][&to]);
            format!("  {} -> {}: {names}", imports.path(from), imports.path(to))
        };
        let mut lines = vec![format!("{} files import each other in a circle, the shortest:", members.len())];
        let next = shortest.iter().cycle().skip(1);
        lines.extend(shortest.iter().zip(next).map(|(&from, &to)| line(from, to)));
        if members.len() > shortest.len() {
            lines.push("and all imports among them:".into());
            for &from in &members {
                lines
                    .extend(imports.targets(from).filter(|to| members.contains(to)).map(|to| line(from, to)));
            }
        }
        circles.push(lines.join("\n"));
    }
    circles
}

/// The imports of test files by code that is more than a test.
pub fn imports_of_tests(imports: &Imports) -> Vec<String> {
    let tests =
        imports.all().filter(|(from, to, _)| imports.files[*to].1 && imports.edges[from][to].in_earnest);
    let told = tests.map(|(from, to, names)| {
        format!("{} imports the test file {}: {names}", imports.path(from), imports.path(to))
    });
    told.collect()
}
