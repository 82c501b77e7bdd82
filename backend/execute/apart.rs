//! Requests that the server hands over together and that cannot share an execution.

use crate::few::Few;
use crate::model::Model;
use crate::triton::request::Request;

/// The executions of these requests, in the order in which their first ones came: without a batch dimension each is alone, and
/// otherwise those go together that have the same inputs.
pub fn apart(model: &Model, requests: Few<Request>) -> Few<Few<Request>> {
    let mut executions: Few<Few<Request>> = Few::new();
    for request in requests {
        let shares =
            |execution: &&mut Few<Request>| model.batching && have_the_same(model, &execution[0], &request);
        match executions.iter_mut().find(shares) {
            Some(execution) => execution.push(request),
            None => executions.push(Few::from_iter([request])),
        }
    }
    executions
}

/// Whether two requests leave out the same of the inputs that set them apart.
fn have_the_same(model: &Model, one: &Request, other: &Request) -> bool {
    let mut inputs = model.inputs.iter().filter(|input| input.sets_apart());
    inputs.all(|input| one.has_input(&input.c_name) == other.has_input(&input.c_name))
}
