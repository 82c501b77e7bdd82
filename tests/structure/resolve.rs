//! Follows a path to the files that answer for it.

use crate::tree::{FileId, ModuleId, Tree};

/// What a path stands for.
enum Found {
    Module(ModuleId),
    /// An item, or a name that no text of the crate shows, such as what a macro makes.
    Item,
    /// Nothing of this package.
    Foreign,
}

/// The names of a module that are being looked up: imports may lead back to where they come from.
type Open = Vec<(ModuleId, String)>;

impl Tree {
    /// The files that `path`, written in `module`, takes names from, with the name that each gives.
    ///
    /// That is the file of the module in which the path's last name is looked up. Where a module on the way, or the
    /// last one, only hands the name on (`use`, public or not), it counts all the same, and so does the one behind it
    /// when the path goes on.
    pub fn files_behind(&self, module: ModuleId, path: &[String]) -> Vec<(FileId, String)> {
        let mut files = Vec::new();
        self.follow(module, path, &mut files, &mut Vec::new());
        let own = self.modules[module].file;
        files.retain(|(file, _)| *file != own);
        files
    }

    /// The same for `use PATH::*`.
    pub fn files_behind_glob(&self, module: ModuleId, path: &[String]) -> Vec<(FileId, String)> {
        let mut files = Vec::new();
        if let Found::Module(target) = self.follow(module, path, &mut files, &mut Vec::new()) {
            // What it opens is the whole module, not its name.
            files.retain(|(file, _)| *file != self.modules[target].file);
            files.push((self.modules[target].file, "*".into()));
        }
        let own = self.modules[module].file;
        files.retain(|(file, _)| *file != own);
        files
    }

    /// Whether the name means something in this module, by its text alone.
    pub fn knows(&self, module: ModuleId, name: &str) -> bool {
        let mut files = Vec::new();
        let found = self.look_up(module, name, &mut files, &mut Vec::new());
        !matches!(found, None | Some(Found::Foreign))
    }

    fn follow(
        &self,
        module: ModuleId,
        path: &[String],
        files: &mut Vec<(FileId, String)>,
        open: &mut Open,
    ) -> Found {
        let Some((first, mut rest)) = path.split_first() else { return Found::Foreign };
        let mut at = match first.as_str() {
            "crate" | "$crate" => self.modules[module].root,
            "self" => module,
            "super" => match self.modules[module].parent {
                Some(parent) => parent,
                None => return Found::Foreign,
            },
            name => match self.look_up(module, name, &mut Vec::new(), open) {
                Some(Found::Module(found)) => {
                    if rest.is_empty() {
                        files.push((self.modules[found].file, name.into()));
                    }
                    found
                }
                Some(found) => return found,
                None => match self.crates.get(name) {
                    Some(&root) if root != self.modules[module].root => root,
                    _ => return Found::Foreign,
                },
            },
        };
        while let Some((name, after)) = rest.split_first() {
            rest = after;
            if name == "self" {
                continue;
            }
            if name == "super" {
                match self.modules[at].parent {
                    Some(parent) => at = parent,
                    None => return Found::Foreign,
                }
                continue;
            }
            let before = files.len();
            match self.look_up(at, name, files, open) {
                Some(Found::Module(child)) => {
                    let handed_on = files.len() > before;
                    if rest.is_empty() && !handed_on {
                        files.push((self.modules[child].file, name.clone()));
                    }
                    at = child;
                }
                Some(found) => {
                    if files.len() == before {
                        files.push((self.modules[at].file, name.clone()));
                    }
                    return found;
                }
                None => {
                    // Not in the text: a macro made it, or it belongs to another crate behind a glob.
                    files.push((self.modules[at].file, name.clone()));
                    return Found::Item;
                }
            }
        }
        Found::Module(at)
    }

    /// Looks a name up among what a module holds. Where it holds it by a `use`, its file goes to `files`.
    fn look_up(
        &self,
        module: ModuleId,
        name: &str,
        files: &mut Vec<(FileId, String)>,
        open: &mut Open,
    ) -> Option<Found> {
        let holder = &self.modules[module];
        if let Some(&child) = holder.children.get(name) {
            return Some(Found::Module(child));
        }
        if holder.items.iter().any(|item| item == name) {
            return Some(Found::Item);
        }
        let key = (module, name.to_owned());
        if open.contains(&key) {
            return None;
        }
        open.push(key);
        let mut by_use = None;
        for (_, path) in holder.uses.iter().filter(|(own, _)| own == name) {
            let found = self.follow(module, path, &mut Vec::new(), open);
            // A module, a macro and a function may share a name: what leads further is the module.
            if by_use.is_none() || matches!(found, Found::Module(_)) {
                by_use = Some(found);
            }
        }
        if by_use.is_none() {
            by_use = holder.globs.iter().find_map(|path| {
                let Found::Module(opened) = self.follow(module, path, &mut Vec::new(), open) else {
                    return None;
                };
                self.look_up(opened, name, &mut Vec::new(), open)
            });
        }
        open.pop();
        if by_use.is_some() {
            files.push((holder.file, name.into()));
        }
        by_use
    }
}
