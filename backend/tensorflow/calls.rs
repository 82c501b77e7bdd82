//! Whether TensorFlow can follow the calls among a graph's functions: it does so before it knows where they end, with its
//! stack, once for each call, and again when it puts functions in the place of their calls. A function that calls itself
//! ends the process while the graph is loaded; so do some hundreds of functions inside one another. Functions that call
//! the next one twice take twice the time with each one more.

use std::collections::HashMap;

use super::outline::{Body, GraphOutline, LOOP_FUNCTIONS, Loop, Name};
use crate::triton::{Error, Result};

/// Functions of a graph. TensorFlow takes some 0.1 ms to load each.
const MOST_FUNCTIONS: usize = 100_000;
/// Functions that call one another. Five hundred take 2 MiB of a thread's stack, which is all that many have, and of
/// conditions inside one another 128 take seconds and 256 half a minute.
const MOST_LEVELS: u64 = 128;
/// Calls, where each is counted for each call of what it is in. TensorFlow takes some 5 us for each when it loads.
const MOST_CALLS: u64 = 1_000_000;

/// A function, or the function that computes its gradient.
type Node = (usize, Mode);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Mode {
    Itself,
    Gradient,
}

/// What is known of a function and what it calls, once that is known.
#[derive(Clone, Copy)]
struct Size {
    levels: u64,
    calls: u64,
}

/// Checks what the operations of `graph` call, and what that calls.
///
/// # Errors
/// What TensorFlow cannot follow, and what to do.
pub fn check(graph: &GraphOutline) -> Result<()> {
    if graph.functions.len() > MOST_FUNCTIONS {
        return Err(Error::unsupported(format!(
            "the graph has {} functions; expected at most {MOST_FUNCTIONS}. Export fewer signatures, or a smaller model",
            graph.functions.len()
        )));
    }
    let calls = Calls::new(graph);
    let mut known = HashMap::new();
    let mut total: u64 = 0;
    for (callee, count) in calls.of(&graph.body, Mode::Itself)? {
        let size = calls.follow(callee, &mut known)?;
        total = total.saturating_add(size.calls.saturating_mul(count));
    }
    if total > MOST_CALLS {
        return Err(Error::unsupported(format!(
            "its functions call one another more than {MOST_CALLS} times where every call is counted for each call of the \
             function that it is in. Export a model whose functions call fewer others"
        )));
    }
    Ok(())
}

struct Calls<'g> {
    graph: &'g GraphOutline,
    /// The index of the function that a name stands for.
    functions: Vec<Option<usize>>,
    /// For each function, that which computes its gradient.
    gradients: HashMap<usize, usize>,
}

impl<'g> Calls<'g> {
    fn new(graph: &'g GraphOutline) -> Self {
        let by_name: HashMap<&str, usize> =
            graph.functions.iter().enumerate().map(|(index, function)| (&*function.name, index)).collect();
        let mut functions = vec![None; graph.names.len()];
        for (name, number) in graph.names.all() {
            functions[number] = by_name.get(name).copied();
        }
        let index = |name: &String| by_name.get(name.as_str()).copied();
        let gradients =
            graph.gradients.iter().filter_map(|(of, by)| Some((index(of)?, index(by)?))).collect();
        Self { graph, functions, gradients }
    }

    /// What a body calls, and how often.
    ///
    /// # Errors
    /// It has a loop of a function that is not there or takes other values.
    fn of(&self, body: &Body, mode: Mode) -> Result<Vec<(Node, u64)>> {
        let function = |name: Name| self.functions[name];
        body.loops.iter().try_for_each(|again| self.check_loop(again))?;
        let mut calls = Vec::new();
        for (&name, &count) in &body.calls {
            let Some(function) = function(name) else { continue };
            calls.push(((function, Mode::Itself), count));
            if mode == Mode::Gradient {
                calls.push(((function, Mode::Gradient), count));
            }
        }
        for &name in &body.gradients {
            calls.extend(function(name).map(|function| ((function, Mode::Gradient), 1)));
        }
        Ok(calls)
    }

    /// TensorFlow looks for the values of a loop in its functions, and ends the process where they are not there.
    fn check_loop(&self, again: &Loop) -> Result<()> {
        for (attribute, name) in LOOP_FUNCTIONS.iter().zip(again.functions) {
            let (Loop { name: own, values, .. }, broken) =
                (again, "The file is damaged: copy it again, or export the model again");
            let Some(function) = name.and_then(|name| self.functions[name]) else {
                return Err(Error::invalid(format!(
                    "the loop '{own}' names a function as its {attribute} that is not in the graph. {broken}"
                )));
            };
            let function = &self.graph.functions[function];
            // The condition has one result.
            let results = if *attribute == "body" { *values } else { 1 };
            if function.arguments < *values || function.results < results {
                return Err(Error::invalid(format!(
                    "the loop '{own}' has {values} values; expected as many arguments and {results} results of its \
                     {attribute}, the function '{}', found {} and {}. {broken}",
                    function.name, function.arguments, function.results
                )));
            }
        }
        Ok(())
    }

    /// What a function calls.
    fn callees(&self, (function, mode): Node) -> Result<Vec<(Node, u64)>> {
        match (mode, self.gradients.get(&function)) {
            (Mode::Gradient, Some(&gradient)) => Ok(vec![((gradient, Mode::Itself), 1)]),
            _ => self.of(&self.graph.functions[function].body, mode),
        }
    }

    /// The size of a function and of all that it calls. Sizes that were found before are in `known`.
    ///
    /// Does not call itself: the file may have more levels than the stack.
    fn follow(&self, start: Node, known: &mut HashMap<Node, Size>) -> Result<Size> {
        let mut path: Vec<Step> = Vec::new();
        let mut on_path: HashMap<Node, usize> = HashMap::new();
        let mut next = Some(start);
        loop {
            if let Some(node) = next.take().filter(|node| !known.contains_key(node)) {
                if let Some(&first) = on_path.get(&node) {
                    return Err(self.recursion(&path[first..]));
                }
                on_path.insert(node, path.len());
                path.push(Step { node, open: self.callees(node)?, size: Size { levels: 1, calls: 1 } });
            }
            let Some(step) = path.last_mut() else { break };
            match step.open.last() {
                Some((callee, count)) => match known.get(callee) {
                    Some(size) => {
                        step.size.levels = step.size.levels.max(size.levels.saturating_add(1));
                        step.size.calls = step.size.calls.saturating_add(size.calls.saturating_mul(*count));
                        step.open.pop();
                    }
                    None => next = Some(*callee),
                },
                None => {
                    let Step { node, size, .. } = path.pop().expect("it is the last one");
                    on_path.remove(&node);
                    known.insert(node, size);
                }
            }
        }
        let size = known[&start];
        if size.levels > MOST_LEVELS {
            return Err(Error::unsupported(format!(
                "{} functions call one another, from '{}' on; expected at most {MOST_LEVELS}. Export a model whose \
                 functions are not as deep inside one another",
                size.levels,
                self.name(start)
            )));
        }
        Ok(size)
    }

    fn recursion(&self, cycle: &[Step]) -> Error {
        const SHOWN: usize = 5;
        let mut names: Vec<&str> = cycle.iter().take(SHOWN).map(|step| self.name(step.node)).collect();
        if cycle.len() > SHOWN {
            names.push("...");
        }
        let first = self.name(cycle[0].node);
        names.push(first);
        Error::unsupported(format!(
            "the function '{first}' calls itself ({}), which TensorFlow cannot load. Export the model with a loop in its \
             place",
            names.join(" -> ")
        ))
    }

    fn name(&self, (function, _): Node) -> &'g str {
        &self.graph.functions[function].name
    }
}

/// A function on the way from the first one.
struct Step {
    node: Node,
    /// What it calls and has not been followed yet.
    open: Vec<(Node, u64)>,
    /// As far as it is known.
    size: Size,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensorflow::outline::FunctionOutline;
    use crate::triton::Code;

    /// A graph whose own operations call `calls`, with these functions and what each calls.
    fn graph(calls: &[&str], functions: &[(&str, &[&str])]) -> GraphOutline {
        let mut graph = GraphOutline::default();
        for call in calls {
            *graph.body.calls.entry(graph.names.number(call)).or_default() += 1;
        }
        for (name, calls) in functions {
            let mut function = FunctionOutline { name: (*name).into(), ..FunctionOutline::default() };
            for call in *calls {
                match call.strip_prefix('d') {
                    // The gradient of a function.
                    Some(of) => function.body.gradients.push(graph.names.number(of)),
                    None => *function.body.calls.entry(graph.names.number(call)).or_default() += 1,
                }
            }
            graph.functions.push(function);
        }
        graph
    }

    /// Functions that each call the next one `times` times.
    fn chain(length: usize, times: usize) -> GraphOutline {
        let names: Vec<String> = (0..=length).map(|index| format!("f{index}")).collect();
        let calls: Vec<Vec<&str>> = (0..length).map(|index| vec![&*names[index + 1]; times]).collect();
        let functions: Vec<(&str, &[&str])> =
            names[..length].iter().map(String::as_str).zip(calls.iter().map(Vec::as_slice)).collect();
        // The last one calls a name that no function has.
        graph(&["f0"], &functions)
    }

    #[track_caller]
    fn assert_refused(graph: &GraphOutline, part: &str) {
        let error = check(graph).expect_err("TensorFlow cannot follow it");
        assert_eq!(error.code, Code::Unsupported);
        assert!(error.message.contains(part), "'{part}' is not in: {error}");
    }

    #[test]
    fn a_function_that_calls_itself_is_refused_however_it_gets_there() {
        assert_refused(&graph(&["f"], &[("f", &["f"])]), "the function 'f' calls itself (f -> f)");
        assert_refused(&graph(&["f"], &[("f", &["g"]), ("g", &["f"])]), "'f' calls itself (f -> g -> f)");
        let behind = graph(&["a"], &[("a", &["Neg", "b"]), ("b", &["c"]), ("c", &["b"])]);
        assert_refused(&behind, "'b' calls itself (b -> c -> b)");
        let mut long = chain(20_000, 1);
        let back = long.names.number("f0");
        long.functions[19_999].body.calls.insert(back, 1);
        assert_refused(&long, "'f0' calls itself (f0 -> f1 -> f2 -> f3 -> f4 -> ... -> f0)");
    }

    #[test]
    fn what_nothing_calls_and_what_two_call_is_no_recursion() {
        assert!(check(&graph(&["f"], &[("f", &[]), ("g", &["g"])])).is_ok(), "nothing calls it");
        let shared = graph(&["a", "b", "a"], &[("a", &["b", "c"]), ("b", &["c", "c"]), ("c", &["Neg"])]);
        assert!(check(&shared).is_ok());
        assert!(check(&graph(&["gone"], &[])).is_ok());
        assert!(check(&GraphOutline::default()).is_ok());
    }

    #[test]
    fn a_gradient_calls_the_function_that_computes_it() {
        // One that needs the function itself is as usual.
        let mut usual = graph(&["f"], &[("f", &["df"]), ("grad", &["f"])]);
        usual.functions[0].body.gradients.clear();
        usual.gradients.push(("f".into(), "grad".into()));
        assert!(check(&usual).is_ok(), "the gradient is not computed");
        let top = graph(&["top"], &[("top", &["df"]), ("f", &["Neg"]), ("grad", &["f"])]);
        let top = GraphOutline { gradients: vec![("f".into(), "grad".into())], ..top };
        assert!(check(&top).is_ok());
        let own = graph(&["top"], &[("top", &["df"]), ("f", &["Neg"]), ("grad", &["df"])]);
        let own = GraphOutline { gradients: vec![("f".into(), "grad".into())], ..own };
        assert_refused(&own, "calls itself");
        let inner = graph(&["top"], &[("top", &["df"]), ("f", &["g"]), ("g", &[]), ("grad", &["df"])]);
        let inner = GraphOutline { gradients: vec![("g".into(), "grad".into())], ..inner };
        assert_refused(&inner, "calls itself");
        assert_refused(&graph(&["f"], &[("f", &["df"])]), "calls itself");
    }

    #[test]
    fn a_loop_has_functions_that_take_its_values() {
        let with = |arguments, results, body: Option<&str>| {
            let mut graph = graph(&[], &[("on", &[]), ("body", &[])]);
            graph.functions[0].arguments = 2;
            graph.functions[0].results = 1;
            graph.functions[1].arguments = arguments;
            graph.functions[1].results = results;
            let functions = [Some("on"), body].map(|name| name.map(|name| graph.names.number(name)));
            graph.body.loops.push(Loop { name: "again".into(), functions, values: 2 });
            graph
        };
        assert!(check(&with(2, 2, Some("body"))).is_ok());
        for (graph, part) in [
            (
                with(2, 2, Some("bodx")),
                "the loop 'again' names a function as its body that is not in the graph",
            ),
            (with(2, 2, None), "the loop 'again' names a function as its body that is not in the graph"),
            (with(1, 2, Some("body")), "2 results of its body, the function 'body', found 1 and 2"),
            (with(2, 1, Some("body")), "2 results of its body, the function 'body', found 2 and 1"),
            (with(2, 1, Some("on")), "2 results of its body, the function 'on', found 2 and 1"),
        ] {
            let error = check(&graph).expect_err("TensorFlow would look behind the end");
            assert!(error.message.contains(part), "'{part}' is not in: {error}");
        }
    }

    #[test]
    fn levels_calls_and_functions_are_bounded() {
        assert!(check(&chain(128, 1)).is_ok());
        for length in [129, 2_000, 20_000] {
            assert_refused(&chain(length, 1), &format!("{length} functions call one another, from 'f0' on"));
        }
        assert!(check(&chain(19, 2)).is_ok(), "a good half of a million calls");
        for length in [20, 40, 64, 128] {
            assert_refused(&chain(length, 2), "more than 1000000 times");
        }
        // Many that are not inside one another are as usual.
        let names: Vec<String> = (0..MOST_FUNCTIONS).map(|index| format!("f{index}")).collect();
        let calls: Vec<&str> = names.iter().map(String::as_str).collect();
        let functions: Vec<(&str, &[&str])> = calls.iter().map(|name| (*name, &["Neg"][..])).collect();
        let mut wide = graph(&calls, &functions);
        assert!(check(&wide).is_ok());
        wide.functions.push(FunctionOutline::default());
        assert_refused(&wide, "the graph has 100001 functions; expected at most 100000");
    }
}
