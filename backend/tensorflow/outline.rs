//! What saved_model.pb says about which function calls which, without the rest of it.
//!
//! It is read before TensorFlow reads the file: TensorFlow follows calls without looking where they lead.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Seek};

use super::wire::{Field, Messages};

/// The graphs of a SavedModel.
#[derive(Debug, Default)]
pub struct Outline {
    pub graphs: Vec<GraphOutline>,
}

/// One of its graphs.
#[derive(Debug, Default)]
pub struct GraphOutline {
    /// By which it is chosen.
    pub tags: Vec<String>,
    /// What its own operations call.
    pub body: Body,
    /// The functions of its library.
    pub functions: Vec<FunctionOutline>,
    /// A function, and the function that computes its gradient in place of the one that TensorFlow would make.
    pub gradients: Vec<(String, String)>,
    /// The names that bodies use.
    pub names: Names,
}

/// A function of a graph's library.
#[derive(Debug, Default)]
pub struct FunctionOutline {
    pub name: String,
    /// How many arguments it has, and how many results; at least so many, where one stands for several.
    pub arguments: usize,
    pub results: usize,
    pub body: Body,
}

/// Operations, and what they call.
#[derive(Debug, Default)]
pub struct Body {
    /// How often something is called: the function that an attribute names, or the kind of an operation, which in old
    /// graphs may be a function's name.
    pub calls: BTreeMap<Name, u64>,
    /// The functions whose gradients are computed.
    pub gradients: Vec<Name>,
    /// The loops.
    pub loops: Vec<Loop>,
}

/// An operation that repeats a function.
#[derive(Debug, PartialEq, Eq)]
pub struct Loop {
    /// The operation's name.
    pub name: String,
    /// The functions that say whether to go on, and what to do.
    pub functions: [Option<Name>; 2],
    /// How many values it has, at least.
    pub values: usize,
}

/// A name as a number.
pub type Name = usize;

/// Names by number. There are few, and they come often.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, Name>);

impl Names {
    /// The number of a name.
    pub fn number(&mut self, name: &str) -> Name {
        if let Some(&number) = self.0.get(name) {
            return number;
        }
        let number = self.0.len();
        self.0.insert(name.into(), number);
        number
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, with their numbers.
    pub fn all(&self) -> impl Iterator<Item = (&str, Name)> {
        self.0.iter().map(|(name, &number)| (name.as_str(), number))
    }
}

/// The attributes of a loop that name its functions.
pub const LOOP_FUNCTIONS: [&str; 2] = ["cond", "body"];
/// The operations that repeat a function.
const LOOPS: [&str; 2] = ["While", "StatelessWhile"];
/// The operation that computes the gradient of the function that its attribute names.
const GRADIENT: &str = "SymbolicGradient";

impl Outline {
    /// Reads a `SavedModel` of `length` bytes.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(file: impl Read + Seek, length: u64) -> io::Result<Self> {
        let mut outline = Self::default();
        Messages::new(file).whole(length, |messages, field| {
            if field.number == 2 {
                outline.graphs.push(meta_graph(messages, field)?);
            }
            Ok(())
        })?;
        Ok(outline)
    }
}

impl GraphOutline {
    /// Reads a `GraphDef` of `length` bytes.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(file: impl Read + Seek, length: u64) -> io::Result<Self> {
        let mut graph = Self::default();
        Messages::new(file).whole(length, |messages, field| graph_def(messages, field, &mut graph))?;
        Ok(graph)
    }
}

/// A field of a `GraphDef`.
fn graph_def<R: Read + Seek>(
    messages: &mut Messages<R>,
    field: Field,
    graph: &mut GraphOutline,
) -> io::Result<()> {
    match field.number {
        1 => operation(messages, field, &mut graph.body, &mut graph.names),
        2 => library(messages, field, graph),
        _ => Ok(()),
    }
}

fn meta_graph<R: Read + Seek>(messages: &mut Messages<R>, field: Field) -> io::Result<GraphOutline> {
    let mut graph = GraphOutline::default();
    messages.message(field, |messages, field| match field.number {
        1 => messages.message(field, |messages, field| {
            if field.number == 4 {
                graph.tags.push(messages.text(field)?);
            }
            Ok(())
        }),
        2 => messages.message(field, |messages, field| graph_def(messages, field, &mut graph)),
        _ => Ok(()),
    })?;
    Ok(graph)
}

fn library<R: Read + Seek>(
    messages: &mut Messages<R>,
    field: Field,
    graph: &mut GraphOutline,
) -> io::Result<()> {
    messages.message(field, |messages, field| match field.number {
        1 => {
            graph.functions.push(function(messages, field, &mut graph.names)?);
            Ok(())
        }
        2 => {
            let (mut of, mut by) = (String::new(), String::new());
            messages.message(field, |messages, field| {
                match field.number {
                    1 => of = messages.text(field)?,
                    2 => by = messages.text(field)?,
                    _ => {}
                }
                Ok(())
            })?;
            graph.gradients.push((of, by));
            Ok(())
        }
        _ => Ok(()),
    })
}

fn function<R: Read + Seek>(
    messages: &mut Messages<R>,
    field: Field,
    names: &mut Names,
) -> io::Result<FunctionOutline> {
    let mut function = FunctionOutline::default();
    messages.message(field, |messages, field| match field.number {
        1 => messages.message(field, |messages, field| {
            match field.number {
                1 => function.name = messages.text(field)?,
                2 => function.arguments += 1,
                3 => function.results += 1,
                _ => {}
            }
            Ok(())
        }),
        3 => operation(messages, field, &mut function.body, names),
        _ => Ok(()),
    })?;
    Ok(function)
}

/// A `NodeDef`.
fn operation<R: Read + Seek>(
    messages: &mut Messages<R>,
    field: Field,
    body: &mut Body,
    names: &mut Names,
) -> io::Result<()> {
    let (mut own_name, mut kind) = (String::new(), String::new());
    let mut called = Vec::new();
    let mut values = 0;
    messages.message(field, |messages, field| {
        match field.number {
            1 => own_name = messages.text(field)?,
            2 => kind = messages.text(field)?,
            // What only has to come before begins with ^.
            3 => values += usize::from(!messages.text(field)?.starts_with('^')),
            5 => entry(messages, field, &mut called)?,
            _ => {}
        }
        Ok(())
    })?;
    if kind == GRADIENT {
        body.gradients.extend(called.iter().map(|(_, name)| names.number(name)));
    }
    if LOOPS.contains(&kind.as_str()) {
        let named =
            |attribute| called.iter().find(|(of, _)| of == attribute).map(|(_, name)| names.number(name));
        body.loops.push(Loop { name: own_name, functions: LOOP_FUNCTIONS.map(named), values });
    }
    for name in called.iter().map(|(_, name)| name).chain([&kind]) {
        *body.calls.entry(names.number(name)).or_default() += 1;
    }
    Ok(())
}

/// A name that an attribute has for a function, behind the attribute's own.
type Called = (String, String);

/// An attribute, with its name: `map<string, AttrValue>`.
fn entry<R: Read + Seek>(
    messages: &mut Messages<R>,
    field: Field,
    called: &mut Vec<Called>,
) -> io::Result<()> {
    let before = called.len();
    let mut attribute = String::new();
    messages.message(field, |messages, field| match field.number {
        1 => {
            attribute = messages.text(field)?;
            Ok(())
        }
        2 => messages.message(field, |messages, field| match field.number {
            // Its list, and what it names itself.
            1 => messages.message(field, |messages, field| match field.number {
                9 => name(messages, field, called),
                _ => Ok(()),
            }),
            10 => name(messages, field, called),
            _ => Ok(()),
        }),
        _ => Ok(()),
    })?;
    // What is inside another function's attributes is that attribute's.
    called[before..].iter_mut().filter(|(of, _)| of.is_empty()).for_each(|(of, _)| of.clone_from(&attribute));
    Ok(())
}

/// A `NameAttrList`: a function with attributes, which may be functions again.
fn name<R: Read + Seek>(
    messages: &mut Messages<R>,
    field: Field,
    called: &mut Vec<Called>,
) -> io::Result<()> {
    messages.message(field, |messages, field| {
        match field.number {
            1 => called.push((String::new(), messages.text(field)?)),
            2 => entry(messages, field, called)?,
            _ => {}
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use prost::Message;

    use super::*;
    use crate::tensorflow::proto::graph::{
        ArgDef, AttrValue, FunctionDef, FunctionDefLibrary, GraphDef, ListValue, NameAttrList, NodeDef, OpDef,
    };

    fn calls(names: &[&str]) -> Vec<NameAttrList> {
        names.iter().map(|name| NameAttrList { name: (*name).into(), ..NameAttrList::default() }).collect()
    }

    fn node(op: &str, attr: Vec<(&str, AttrValue)>) -> NodeDef {
        let attr = attr.into_iter().map(|(name, value)| (name.to_string(), value.encode_to_vec())).collect();
        NodeDef { name: "n".into(), op: op.into(), attr, ..NodeDef::default() }
    }

    /// A message with these fields, each a number and what it holds.
    fn message(fields: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = vec![0x08, 1];
        for (number, content) in fields {
            bytes.push(number << 3 | 2);
            prost::encoding::encode_varint(content.len() as u64, &mut bytes);
            bytes.extend(content);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Outline {
        Outline::read(Cursor::new(bytes), bytes.len() as u64).expect("it is a SavedModel")
    }

    fn named(graph: &GraphOutline, body: &Body) -> Vec<(String, u64)> {
        let name =
            |number: Name| graph.names.all().find(|(_, known)| *known == number).unwrap().0.to_string();
        let mut calls: Vec<_> = body.calls.iter().map(|(&number, &count)| (name(number), count)).collect();
        calls.sort();
        calls
    }

    #[test]
    fn a_graph_is_what_calls_what_wherever_it_is_named() {
        let func = |func| AttrValue { func: Some(func), ..AttrValue::default() };
        let [plain, inner] = calls(&["plain", "inner"]).try_into().unwrap();
        let with_attributes = NameAttrList { attr: [("F".to_string(), func(inner))].into(), ..plain.clone() };
        let list = ListValue { func: calls(&["one", "two"]), ..ListValue::default() };
        let branches = AttrValue { list: Some(list), ..AttrValue::default() };
        let signature = OpDef {
            name: "f".into(),
            input_arg: vec![ArgDef::default()],
            output_arg: vec![Vec::new(); 2],
            ..OpDef::default()
        };
        let on = calls(&["on"]).remove(0);
        let mut again = node("While", vec![("body", func(plain.clone())), ("cond", func(on))]);
        again.input = ["a", "b:0", "^c"].map(String::from).into();
        let function = FunctionDef {
            signature: Some(signature),
            node_def: vec![
                node("PartitionedCall", vec![("f", func(plain.clone())), ("T", AttrValue::default())]),
                node("PartitionedCall", vec![("f", func(with_attributes))]),
                node("SymbolicGradient", vec![("f", func(plain))]),
                again,
            ],
            ..FunctionDef::default()
        };
        let graph = GraphDef {
            node: vec![node("Case", vec![("branches", branches)]), node("f", vec![]), node("f", vec![])],
            library: Some(FunctionDefLibrary { function: vec![function] }),
            ..GraphDef::default()
        };
        let gradient = message(&[(2, message(&[(1, b"f".to_vec()), (2, b"g".to_vec())]))]);
        let meta_graph = message(&[
            (2, graph.encode_to_vec()),
            (1, message(&[(4, b"serve".to_vec()), (4, b"gpu".to_vec())])),
            (5, b"\xff\xff, which is not read".to_vec()),
            // What is there twice is one.
            (2, message(&[(2, gradient)])),
        ]);
        let outline = read(&message(&[(2, meta_graph), (2, Vec::new())]));
        let [graph, empty] = &outline.graphs[..] else { panic!("{outline:?}") };
        assert_eq!((&graph.tags[..], empty.tags.len()), (&["serve".to_string(), "gpu".into()][..], 0));
        let expected = [("Case", 1), ("f", 2), ("one", 1), ("two", 1)];
        assert_eq!(named(graph, &graph.body), expected.map(|(name, count)| (name.to_string(), count)));
        let function = &graph.functions[0];
        assert_eq!((graph.functions.len(), &*function.name), (1, "f"));
        let expected = [
            ("PartitionedCall", 2),
            ("SymbolicGradient", 1),
            ("While", 1),
            ("inner", 1),
            ("on", 1),
            ("plain", 4),
        ];
        assert_eq!(named(graph, &function.body), expected.map(|(name, count)| (name.to_string(), count)));
        assert_eq!(function.body.gradients.len(), 1);
        let name = |name: &str| graph.names.all().find(|(known, _)| *known == name).map(|(_, number)| number);
        let again = Loop { name: "n".into(), functions: [name("on"), name("plain")], values: 2 };
        assert_eq!((function.arguments, function.results, &function.body.loops[..]), (1, 2, &[again][..]));
        assert_eq!(graph.gradients, [("f".to_string(), "g".to_string())]);
    }
}
