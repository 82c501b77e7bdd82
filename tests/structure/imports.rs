//! The paths that a crate's files write down: in `use`, in types and expressions, in attributes, in macros.

use std::path::PathBuf;

use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItemFn, Item, ItemFn, ItemMod, ItemUse, Macro, Path, VisRestricted};

use crate::circles::Imports;
use crate::tree::{Leaf, ModuleId, Sources, Tree, for_tests_only, leaves};

/// Who imports whom in the crates with these roots.
pub fn read(sources: &Sources<'_>, roots: &[(String, PathBuf)]) -> Imports {
    let mut tree = Tree::read(sources, roots);
    let files: Vec<(ModuleId, bool, Vec<Item>)> = tree
        .files
        .iter_mut()
        .map(|file| (file.module, file.is_test, std::mem::take(&mut file.items)))
        .collect();
    // A `use` within a function counts as one of its module: what it names is then known below.
    for (module, _, items) in &files {
        let mut inner = InnerUses { tree: &mut tree, module: *module, depth: 0 };
        items.iter().for_each(|item| inner.visit_item(item));
    }
    let mut imports = Imports::new(tree.files.iter().map(|file| (file.path.clone(), file.is_test)));
    for (module, is_test, items) in &files {
        let mut paths = Paths { tree: &tree, imports: &mut imports, module: *module, in_test: *is_test };
        items.iter().for_each(|item| paths.visit_item(item));
    }
    imports
}

struct InnerUses<'t> {
    tree: &'t mut Tree,
    module: ModuleId,
    /// Blocks around the place that is read.
    depth: usize,
}

impl<'ast> Visit<'ast> for InnerUses<'_> {
    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.depth += 1;
        visit::visit_block(self, block);
        self.depth -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if self.depth > 0 {
            self.tree.add_use(self.module, &item.tree);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if let Some(child) = child_block(self.tree, self.module, item) {
            let outer = std::mem::replace(&mut self.module, child);
            visit::visit_item_mod(self, item);
            self.module = outer;
        }
    }
}

/// The module of a `mod NAME { .. }`.
fn child_block(tree: &Tree, module: ModuleId, item: &ItemMod) -> Option<ModuleId> {
    item.content.as_ref()?;
    tree.modules[module].children.get(&item.ident.to_string()).copied()
}

struct Paths<'t> {
    tree: &'t Tree,
    imports: &'t mut Imports,
    module: ModuleId,
    /// Whether the place that is read is compiled for tests only.
    in_test: bool,
}

impl Paths<'_> {
    fn add(&mut self, path: &[String]) {
        let found = self.tree.files_behind(self.module, path);
        self.add_files(found);
    }

    fn add_files(&mut self, found: Vec<(usize, String)>) {
        let from = self.tree.modules[self.module].file;
        for (to, name) in found {
            self.imports.add(from, to, name, self.in_test);
        }
    }

    /// Paths among tokens that nobody has parsed: words with `::` between them.
    fn add_tokens(&mut self, tokens: TokenStream, texts_too: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |at: usize, sign: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == sign);
        let colons = |at: usize| {
            matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':' && p.spacing() == Spacing::Joint)
                && is(at + 1, ':')
        };
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.add_tokens(group.stream(), texts_too),
                TokenTree::Literal(literal) if texts_too => self.add_text(&literal.to_string()),
                TokenTree::Ident(word) => {
                    let begin = at;
                    let mut path = vec![word.to_string()];
                    // `use crate::a::{b, c};` within a macro: each of the group begins with what stands before it.
                    while colons(at + 1) {
                        match tokens.get(at + 3) {
                            Some(TokenTree::Ident(word)) => path.push(word.to_string()),
                            Some(TokenTree::Group(group)) => {
                                self.add_group(&path, group.stream());
                                break;
                            }
                            _ => break,
                        }
                        at += 3;
                    }
                    let after_path = begin >= 2 && colons(begin - 2);
                    let after_dot = begin >= 1 && is(begin - 1, '.');
                    if path.len() > 1 && !after_path && !after_dot {
                        self.add(&path);
                    } else if is(at + 1, '!') {
                        self.add_macro_name(&path);
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn add_group(&mut self, path: &[String], tokens: TokenStream) {
        let tree = TokenStream::from_iter([TokenTree::Group(proc_macro2::Group::new(
            proc_macro2::Delimiter::Brace,
            tokens,
        ))]);
        // What is no list of names, such as a generic argument, has paths of its own, which are found by themselves.
        let Ok(tree) = syn::parse2::<syn::UseTree>(tree) else { return };
        for leaf in leaves(&tree) {
            let (Leaf::Name(_, rest) | Leaf::Glob(rest)) = leaf;
            self.add(&[path, &rest].concat());
        }
    }

    /// A text that is a path, as in `#[serde(with = "crate::dims")]`.
    fn add_text(&mut self, literal: &str) {
        let Ok(text) = syn::parse_str::<syn::LitStr>(literal) else { return };
        if let Ok(path) = text.parse::<Path>()
            && path.segments.len() > 1
        {
            self.add(&segments(&path));
        }
    }

    /// A macro may be used by its bare name wherever its definition comes first, without any `use`.
    fn add_macro_name(&mut self, path: &[String]) {
        let [name] = path else { return self.add(path) };
        if !self.tree.knows(self.module, name)
            && let Some(&file) = self.tree.macros.get(name)
            && file != self.tree.modules[self.module].file
        {
            self.add_files(vec![(file, format!("{name}!"))]);
        }
    }
}

fn segments(path: &Path) -> Vec<String> {
    let names = path.segments.iter().map(|segment| segment.ident.to_string());
    // `::name` is another crate.
    path.leading_colon.map(|_| "::".to_owned()).into_iter().chain(names).collect()
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let outer = self.in_test;
        self.in_test |= match item {
            Item::Fn(ItemFn { attrs, .. })
            | Item::Mod(ItemMod { attrs, .. })
            | Item::Use(ItemUse { attrs, .. }) => for_tests_only(attrs),
            Item::Impl(item) => for_tests_only(&item.attrs),
            Item::Struct(item) => for_tests_only(&item.attrs),
            Item::Enum(item) => for_tests_only(&item.attrs),
            Item::Const(item) => for_tests_only(&item.attrs),
            Item::Trait(item) => for_tests_only(&item.attrs),
            Item::Type(item) => for_tests_only(&item.attrs),
            _ => false,
        };
        visit::visit_item(self, item);
        self.in_test = outer;
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        let outer = self.in_test;
        self.in_test |= for_tests_only(&function.attrs);
        visit::visit_impl_item_fn(self, function);
        self.in_test = outer;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_some() {
            return;
        }
        for leaf in leaves(&item.tree) {
            match leaf {
                Leaf::Name(_, path) => self.add(&path),
                Leaf::Glob(path) => {
                    let found = self.tree.files_behind_glob(self.module, &path);
                    self.add_files(found);
                }
            }
        }
    }

    // A declaration of a file is no import, and the file is read by itself.
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if let Some(child) = child_block(self.tree, self.module, item) {
            let outer = std::mem::replace(&mut self.module, child);
            visit::visit_item_mod(self, item);
            self.module = outer;
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        // A single name is of the file itself, of a `use` that was seen, or a variable.
        if path.segments.len() > 1 {
            self.add(&segments(path));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invoked: &'ast Macro) {
        self.add_macro_name(&segments(&invoked.path));
        self.add_tokens(invoked.tokens.clone(), false);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        // Documentation may speak of anything.
        if !attribute.path().is_ident("doc")
            && !attribute.path().is_ident("path")
            && let syn::Meta::List(list) = &attribute.meta
        {
            self.add_tokens(list.tokens.clone(), true);
        }
    }

    // Who may see an item is no import.
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}
}
