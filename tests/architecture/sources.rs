//! The modules of a crate as text: their code without comments and tests, and the paths they use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Files of `folder` in the package, in its subfolders too.
pub fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// One module.
pub struct Source {
    /// The file, relative to the package.
    pub file: String,
    /// Its path in the crate; empty for the root.
    module: Vec<String>,
    /// Without comments, test modules and items for tests alone.
    pub code: String,
}

/// The modules of the crate whose root is in `folder`, without test modules.
pub fn sources(folder: &str) -> Vec<Source> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut sources, mut tests) = (Vec::new(), BTreeSet::new());
    for path in files(folder) {
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let inside = path.strip_prefix(package).expect("a file of the package");
        let file = inside.display().to_string();
        let text = fs::read_to_string(&path).expect("a source can be read");
        let module = module_of(&file[folder.len() + 1..]);
        let code = without_tests(&without_comments(&text), &module, &mut tests);
        sources.push(Source { file, module, code });
    }
    let is_test = |source: &Source| {
        (1..=source.module.len()).any(|length| tests.contains(&source.module[..length]))
    };
    sources.retain(|source| !is_test(source));
    sources
}

fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    match path {
        "lib" | "main" => Vec::new(),
        _ => path.split('/').map(str::to_owned).collect(),
    }
}

fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next());
    lines.flatten().flat_map(|line| [line, "\n"]).collect()
}

/// Cuts what follows each `#[cfg(test)]`: a whole inline module, else one item up to its semicolon.
/// Modules in files of their own are added to `tests`.
fn without_tests(code: &str, module: &[String], tests: &mut BTreeSet<Vec<String>>) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some((before, item)) = rest.split_once("#[cfg(test)]") {
        kept += before;
        let end = item.find([';', '{']).unwrap_or(item.len());
        if let Some((_, name)) = item[..end].split_once("mod ") {
            if item[end..].starts_with('{') {
                // By this project's style, an inline test module ends its file.
                return kept;
            }
            tests.insert([module, &[name.trim().to_owned()]].concat());
        }
        rest = &item[(end + 1).min(item.len())..];
    }
    kept + rest
}

impl Source {
    /// The paths in this crate that the code uses, from the root, each up to its last identifier.
    fn used_paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        for (at, _) in self.code.match_indices("::") {
            let before = &self.code[..at];
            let start = before
                .rfind(|letter: char| !(letter.is_alphanumeric() || "_:".contains(letter)))
                .map_or(0, |end| end + 1);
            let base = match &before[start..] {
                "crate" => Vec::new(),
                "self" => self.module.clone(),
                supers if supers.split("::").all(|word| word == "super") => {
                    let up = supers.split("::").count();
                    self.module[..self.module.len().saturating_sub(up)].to_vec()
                }
                _ => continue,
            };
            let ends = expand(&self.code[at + 2..]);
            paths.extend(ends.into_iter().map(|end| [base.clone(), end].concat()));
        }
        paths
    }
}

/// The paths that begin here: `a::b` is one, `a::{b, c::d}` are two.
fn expand(code: &str) -> Vec<Vec<String>> {
    let code = code.trim_start();
    if let Some(group) = code.strip_prefix('{') {
        return members(group).into_iter().flat_map(expand).collect();
    }
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let end = code.find(|letter| !is_part(letter)).unwrap_or(code.len());
    let (name, rest) = code.split_at(end);
    if name.is_empty() {
        return vec![Vec::new()];
    }
    let ends = match rest.strip_prefix("::") {
        Some(rest) => expand(rest),
        None => vec![Vec::new()],
    };
    let path = |end: Vec<String>| [vec![name.to_owned()], end].concat();
    ends.into_iter().map(path).collect()
}

/// The comma-separated parts of a group, whose opening brace has been read.
fn members(group: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                parts.push(group[start..at].trim());
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// A folder of modules, and which of its modules uses which of its others.
type Uses = BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>>;

/// The uses between modules of the same folder that form circles, as `folder: a -> b`.
pub fn circles(sources: &[Source]) -> Vec<String> {
    let modules: BTreeSet<&[String]> = sources.iter().map(|it| it.module.as_slice()).collect();
    let mut uses = Uses::new();
    for source in sources {
        for path in source.used_paths() {
            let same = source.module.iter().zip(&path).take_while(|(a, b)| a == b);
            let depth = same.count();
            let (Some(user), Some(used)) = (source.module.get(depth), path.get(depth)) else {
                continue;
            };
            if modules.contains(&path[..=depth]) {
                let folder = uses.entry(path[..depth].to_vec()).or_default();
                let of_user = folder.entry(user.clone()).or_default();
                of_user.insert(used.clone());
            }
        }
    }
    let mut found = Vec::new();
    for (folder, mut graph) in uses {
        // A module that uses none of the others, or that none of them uses, is in no circle.
        while let Some(module) = outside_circles(&graph) {
            graph.remove(&module);
        }
        for (user, used) in &graph {
            for used in used.iter().filter(|used| graph.contains_key(*used)) {
                found.push(format!("{}: {user} -> {used}", folder.join("::")));
            }
        }
    }
    found
}

fn outside_circles(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let uses_none = |used: &BTreeSet<String>| used.iter().all(|it| !graph.contains_key(it));
    let is_unused = |module: &String| graph.values().all(|used| !used.contains(module));
    let found = graph
        .iter()
        .find(|(module, used)| uses_none(used) || is_unused(module));
    found.map(|(module, _)| module.clone())
}

#[test]
fn a_circle_is_found_through_groups_and_super_and_tests_do_not_count() {
    let source = |module: &str, text: &str| {
        let module: Vec<String> = module.split("::").map(str::to_owned).collect();
        let code = without_tests(&without_comments(text), &module, &mut BTreeSet::new());
        let file = module.join("/");
        Source { file, module, code }
    };
    let a = source("a", "use crate::{b::{self, C}, d};");
    let b = source(
        "b",
        "// crate::a\n#[cfg(test)]\nmod tests { use crate::a; }",
    );
    let b_again = source("b", "fn f() { crate::a::g() }");
    let in_d = [
        source("d", ""),
        source("d::e", "use super::f::G;"),
        source("d::f", "use super::super::d::e;"),
    ];
    let mut sources = vec![a, b];
    sources.extend(in_d);
    assert_eq!(circles(&sources), ["d: e -> f", "d: f -> e"]);
    sources[1] = b_again;
    assert_eq!(
        circles(&sources),
        [": a -> b", ": b -> a", "d: e -> f", "d: f -> e"]
    );
}
