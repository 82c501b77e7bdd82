//! The modules of a crate, with the names that each of them holds.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Item, Lit, Meta, Token, UseTree};

/// Where the texts of files come from.
pub enum Sources<'a> {
    /// The files below this folder.
    Folder(&'a Path),
    /// Planted ones, by their paths.
    Planted(BTreeMap<PathBuf, String>),
}

impl Sources<'_> {
    fn text(&self, file: &Path) -> Option<String> {
        match self {
            Self::Folder(folder) => std::fs::read_to_string(folder.join(file)).ok(),
            Self::Planted(files) => files.get(file).cloned(),
        }
    }
}

/// A module, by its place in [`Tree::modules`].
pub type ModuleId = usize;

/// A file's place in [`Tree::files`].
pub type FileId = usize;

/// A source file.
pub struct File {
    pub path: PathBuf,
    /// Whether it is compiled for tests only.
    pub is_test: bool,
    /// The module whose text it is.
    pub module: ModuleId,
    pub items: Vec<Item>,
}

/// A module: a file, or a block within one.
#[derive(Default)]
pub struct Module {
    pub file: FileId,
    pub parent: Option<ModuleId>,
    pub root: ModuleId,
    pub children: HashMap<String, ModuleId>,
    /// The names that it defines itself.
    pub items: Vec<String>,
    /// What `use` brings in, by the name that it has here.
    pub uses: Vec<(String, Vec<String>)>,
    /// What `use PATH::*` opens.
    pub globs: Vec<Vec<String>>,
}

/// All crates of a package.
#[derive(Default)]
pub struct Tree {
    pub files: Vec<File>,
    pub modules: Vec<Module>,
    /// The crates by the names that others know them by.
    pub crates: HashMap<String, ModuleId>,
    /// Where each `macro_rules!` is: they have names without a path, too.
    pub macros: HashMap<String, FileId>,
}

impl Tree {
    /// Reads all files that the roots' `mod` declarations lead to.
    pub fn read(sources: &Sources<'_>, roots: &[(String, PathBuf)]) -> Self {
        let mut tree = Self::default();
        for (name, path) in roots {
            let root = tree.add_file(sources, path, None, false, &folder_of(path));
            tree.crates.insert(name.clone(), root);
        }
        tree
    }

    /// `folder` is where the files of the module's own `mod` declarations lie.
    fn add_file(
        &mut self,
        sources: &Sources<'_>,
        path: &Path,
        parent: Option<ModuleId>,
        is_test: bool,
        folder: &Path,
    ) -> ModuleId {
        let text = sources.text(path).unwrap_or_else(|| panic!("{}: there is no such file", path.display()));
        let parsed =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: not Rust: {error}", path.display()));
        let (file, module) = (self.files.len(), self.modules.len());
        self.files.push(File { path: path.to_path_buf(), is_test, module, items: Vec::new() });
        self.add_module(file, parent);
        self.add_items(sources, &parsed.items, module, is_test, folder);
        self.files[file].items = parsed.items;
        module
    }

    fn add_module(&mut self, file: FileId, parent: Option<ModuleId>) -> ModuleId {
        let module = self.modules.len();
        let root = parent.map_or(module, |parent| self.modules[parent].root);
        self.modules.push(Module { file, parent, root, ..Module::default() });
        module
    }

    fn add_items(
        &mut self,
        sources: &Sources<'_>,
        items: &[Item],
        module: ModuleId,
        is_test: bool,
        folder: &Path,
    ) {
        for item in items {
            match item {
                Item::Mod(declared) => {
                    let name = declared.ident.to_string();
                    let is_test = is_test || for_tests_only(&declared.attrs);
                    let child = match &declared.content {
                        Some((_, items)) => {
                            let child = self.add_module(self.modules[module].file, Some(module));
                            self.add_items(sources, items, child, is_test, &folder.join(&name));
                            child
                        }
                        None => {
                            let (path, below) = self.place(sources, declared, module, folder);
                            self.add_file(sources, &path, Some(module), is_test, &below)
                        }
                    };
                    self.modules[module].children.insert(name, child);
                }
                Item::Use(used) => self.add_use(module, &used.tree),
                Item::Macro(defined) => {
                    if let Some(name) = &defined.ident {
                        self.macros.insert(name.to_string(), self.modules[module].file);
                        self.modules[module].items.push(name.to_string());
                    }
                }
                other => self.modules[module].items.extend(name_of(other)),
            }
        }
    }

    /// The file of a `mod NAME;`, and the folder of its own children.
    fn place(
        &self,
        sources: &Sources<'_>,
        declared: &syn::ItemMod,
        module: ModuleId,
        folder: &Path,
    ) -> (PathBuf, PathBuf) {
        let name = declared.ident.to_string();
        let given = declared.attrs.iter().find_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("path") => text_in(&pair.value),
            _ => None,
        });
        let candidates = match given {
            // Within a file it counts from the file's folder, within a block from the block's.
            Some(given) => {
                let file = &self.files[self.modules[module].file];
                let from = if file.module == module { folder_of(&file.path) } else { folder.to_path_buf() };
                let path = normal(&from.join(given));
                vec![(path.clone(), folder_of(&path))]
            }
            None => {
                let below = folder.join(&name);
                vec![
                    (folder.join(format!("{name}.rs")), below.clone()),
                    (folder.join(&name).join("mod.rs"), below),
                ]
            }
        };
        let found = candidates.iter().find(|(path, _)| sources.text(path).is_some());
        found.cloned().unwrap_or_else(|| panic!("there is no file of `mod {name};`: {candidates:?}"))
    }

    /// Takes a `use` into account, of the module itself or of a block within it.
    pub fn add_use(&mut self, module: ModuleId, tree: &UseTree) {
        for leaf in leaves(tree) {
            match leaf {
                Leaf::Glob(path) => self.modules[module].globs.push(path),
                Leaf::Name(name, path) => self.modules[module].uses.push((name, path)),
            }
        }
    }
}

/// What one path of a `use` brings in.
pub enum Leaf {
    /// A name, and the whole path of what it stands for.
    Name(String, Vec<String>),
    /// All names of the module with this path.
    Glob(Vec<String>),
}

/// The paths of a `use`, one by one.
pub fn leaves(tree: &UseTree) -> Vec<Leaf> {
    fn walk(tree: &UseTree, path: &[String], found: &mut Vec<Leaf>) {
        let with = |name: &syn::Ident| [path, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(inner) => walk(&inner.tree, &with(&inner.ident), found),
            // `a::{self}` is `a`.
            UseTree::Name(name) if name.ident == "self" && !path.is_empty() => {
                found.push(Leaf::Name(path[path.len() - 1].clone(), path.to_vec()));
            }
            UseTree::Name(name) => found.push(Leaf::Name(name.ident.to_string(), with(&name.ident))),
            UseTree::Rename(name) if name.ident == "self" && !path.is_empty() => {
                found.push(Leaf::Name(name.rename.to_string(), path.to_vec()));
            }
            UseTree::Rename(name) => found.push(Leaf::Name(name.rename.to_string(), with(&name.ident))),
            UseTree::Glob(_) => found.push(Leaf::Glob(path.to_vec())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, path, found)),
        }
    }
    let mut found = Vec::new();
    walk(tree, &[], &mut found);
    found
}

/// Whether an attribute `cfg(test)` stands there, or `cfg(all(.., test, ..))`.
pub fn for_tests_only(attributes: &[Attribute]) -> bool {
    fn asks_for_test(meta: &Meta) -> bool {
        match meta {
            Meta::Path(path) => path.is_ident("test"),
            Meta::List(list) if list.path.is_ident("all") => {
                let parser = Punctuated::<Meta, Token![,]>::parse_terminated;
                parser.parse2(list.tokens.clone()).is_ok_and(|all| all.iter().any(asks_for_test))
            }
            _ => false,
        }
    }
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute.parse_args::<Meta>().is_ok_and(|meta| asks_for_test(&meta)))
    })
}

fn name_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

fn text_in(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_path_buf()
}

/// Without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}
