//! The requests that wait, in the order in which they came. Any of them can leave: its place is free at once.
//!
//! Whatever is asked of the line costs the same whether a hundred requests wait or a hundred thousand.

use std::collections::{BTreeSet, VecDeque};

use crate::few::{Dims, Few};

/// The sizes, behind the batch dimension, of a request's inputs; empty where the model has no sizes open, or only those of ragged
/// inputs.
pub type Shape = Dims<i64>;

/// Places of requests that have left stay in the line as long as there are no more of them than of others, and so many.
const LEFT_PLACES: usize = 64;

/// What is known of a request that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// When it came, in ns of `CLOCK_MONOTONIC`.
    pub arrival: u64,
    /// Its rows: the rows of its inputs.
    pub rows: usize,
    /// Requests of equal shapes can share a batch.
    pub shape: Shape,
    /// When it has waited for as long as its client allows.
    pub expires: Option<u64>,
    /// What it will take of the workers' time, in ns.
    pub work: f64,
}

/// Names a request in the line; later ones have greater numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(u64);

/// The requests at the front that can share a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Front {
    /// Requests.
    pub count: usize,
    /// Their rows.
    pub rows: usize,
    /// Who waits behind them.
    pub next: Next,
}

/// Who is the first to wait behind the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nobody: who comes may join the front.
    Nobody,
    /// A request of equal shapes, for which no room is left.
    Alike,
    /// A request of other shapes.
    Other,
}

struct Place<T> {
    id: u64,
    waiting: Waiting,
    /// None once it has left.
    request: Option<T>,
}

impl Front {
    /// Takes in the next one, who is behind it if there is no room, or if `first` has other shapes.
    fn extend(&mut self, waiting: &Waiting, first: Option<&Shape>, most: usize) {
        if self.next != Next::Nobody {
            return;
        }
        if first.is_some_and(|first| *first != waiting.shape) {
            self.next = Next::Other;
        } else if self.count > 0 && self.rows + waiting.rows > most {
            self.next = Next::Alike;
        } else {
            self.count += 1;
            self.rows += waiting.rows;
        }
    }
}

/// The line.
pub struct Line<T> {
    places: VecDeque<Place<T>>,
    next_id: u64,
    count: usize,
    rows: usize,
    work: f64,
    /// By when they expire.
    expiries: BTreeSet<(u64, Id)>,
    /// As long as it is known; the number is the most rows.
    front: Option<(usize, Front)>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            places: VecDeque::new(),
            next_id: 0,
            count: 0,
            rows: 0,
            work: 0.0,
            expiries: BTreeSet::new(),
            front: None,
        }
    }
}

impl<T> Line<T> {
    /// The requests in it.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The rows of all of them.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The work of all of them, in ns.
    pub fn work(&self) -> f64 {
        self.work
    }

    /// A request gets in line.
    pub fn push(&mut self, waiting: Waiting, request: T) {
        let id = Id(self.next_id);
        self.next_id += 1;
        self.count += 1;
        self.rows += waiting.rows;
        self.work += waiting.work;
        if let Some(expires) = waiting.expires {
            self.expiries.insert((expires, id));
        }
        if let Some((most, front)) = &mut self.front {
            let first = self.places.front().map(|first| &first.waiting.shape);
            front.extend(&waiting, first, *most);
        }
        self.places.push_back(Place { id: id.0, waiting, request: Some(request) });
    }

    /// The oldest request.
    pub fn oldest(&self) -> Option<&Waiting> {
        // The first place is never one that somebody has left.
        self.places.front().map(|place| &place.waiting)
    }

    /// All that wait, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &Waiting> + Clone {
        self.places.iter().filter(|place| place.request.is_some()).map(|place| &place.waiting)
    }

    /// The requests at the front that can share a batch of at most so many rows. One request always can.
    pub fn front(&mut self, most: usize) -> Front {
        if let Some((of, front)) = self.front
            && of == most
        {
            return front;
        }
        let mut front = Front { count: 0, rows: 0, next: Next::Nobody };
        let first = self.oldest().map(|oldest| &oldest.shape);
        for waiting in self.waiting() {
            front.extend(waiting, first, most);
            if front.next != Next::Nobody {
                break;
            }
        }
        self.front = Some((most, front));
        front
    }

    /// The first so many requests leave.
    pub fn take(&mut self, count: usize) -> Few<T> {
        let mut taken = Few::with_capacity(count);
        while taken.len() < count {
            let Some(mut place) = self.places.pop_front() else { break };
            if let Some(request) = place.request.take() {
                self.leaves(place.id, &place.waiting);
                taken.push(request);
            }
        }
        self.tidy();
        taken
    }

    /// One request leaves; none if it has already.
    pub fn remove(&mut self, Id(id): Id) -> Option<T> {
        let index = self.places.binary_search_by_key(&id, |place| place.id).ok()?;
        let place = &mut self.places[index];
        let request = place.request.take()?;
        let waiting = place.waiting.clone();
        self.leaves(id, &waiting);
        self.tidy();
        Some(request)
    }

    /// A request leaves that has expired by now; none if none has.
    pub fn expired(&mut self, now: u64) -> Option<T> {
        let &(expires, id) = self.expiries.first()?;
        if expires > now { None } else { self.remove(id) }
    }

    /// When the next one expires.
    pub fn next_expiry(&self) -> Option<u64> {
        self.expiries.first().map(|&(expires, _)| expires)
    }

    /// The next expiry of one that had more than so many ns when it came.
    pub fn next_expiry_of_more(&self, ns: u64) -> Option<u64> {
        // Those that had less are gone soon, so that few are passed over.
        let had_more = |&&(expires, Id(id)): &&(u64, Id)| {
            let place = self.places.binary_search_by_key(&id, |place| place.id).ok()?;
            let arrival = self.places[place].waiting.arrival;
            (expires.saturating_sub(arrival) > ns).then_some(expires)
        };
        self.expiries.iter().find_map(|expiry| had_more(&expiry))
    }

    /// What is made of up to so many requests, from one on; the first of those that follow.
    pub fn portion<P>(
        &self,
        from: Id,
        count: usize,
        mut each: impl FnMut(Id, &T) -> P,
    ) -> (Few<P>, Option<Id>) {
        let start = self.places.partition_point(|place| place.id < from.0);
        let mut portion = Few::new();
        for place in self.places.range(start..) {
            if let Some(request) = &place.request {
                if portion.len() == count {
                    return (portion, Some(Id(place.id)));
                }
                portion.push(each(Id(place.id), request));
            }
        }
        (portion, None)
    }

    fn leaves(&mut self, id: u64, waiting: &Waiting) {
        self.count -= 1;
        self.rows -= waiting.rows;
        // Sums of floats do not come back to 0 by themselves.
        self.work = if self.count == 0 { 0.0 } else { (self.work - waiting.work).max(0.0) };
        if let Some(expires) = waiting.expires {
            self.expiries.remove(&(expires, Id(id)));
        }
        self.front = None;
    }

    fn tidy(&mut self) {
        while self.places.front().is_some_and(|place| place.request.is_none()) {
            self.places.pop_front();
        }
        if self.places.len() > 2 * self.count + LEFT_PLACES {
            self.places.retain(|place| place.request.is_some());
        }
    }
}

impl Id {
    /// Before all others.
    pub const FIRST: Self = Self(0);
}
