//! The customer service: people, orders and notes, and the questions that the tools ask of them.
//!
//! `data.json` is synthetic. Names, streets and telephone numbers are invented, the CPFs have
//! right check digits and belong to no known person, and the mail addresses end in domains that
//! are reserved for examples (RFC 2606).

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

const DATA: &str = include_str!("data.json");

/// A person who has bought something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Customer {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) cpf: String,
    pub(super) email: String,
    pub(super) phone: String,
    pub(super) birth_date: String,
    pub(super) address: Address,
    /// Counts the changes of this record, so that a confirmation holds for one change only.
    #[serde(skip)]
    pub(super) revision: u64,
}

/// A Brazilian postal address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Address {
    pub(super) street: String,
    pub(super) number: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) complement: Option<String>,
    pub(super) district: String,
    pub(super) city: String,
    pub(super) state: String,
    pub(super) cep: String,
}

/// An order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) id: String,
    pub(super) customer_id: String,
    pub(super) placed_on: String,
    pub(super) status: String,
    pub(super) region: String,
    pub(super) items: Vec<Item>,
    pub(super) total_cents: u64,
}

/// A line of an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) product: String,
    pub(super) quantity: u32,
    pub(super) unit_price_cents: u64,
}

/// What somebody wrote down about a customer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) id: String,
    pub(super) customer_id: String,
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
struct State {
    customers: Vec<Customer>,
    orders: Vec<Order>,
    notes: Vec<Note>,
}

/// All records, in memory.
#[derive(Debug)]
pub(super) struct Store {
    state: Mutex<State>,
}

/// What became of a change of address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is made.
    Made,
    /// The record has changed since the question was asked.
    Outdated,
    /// There is no such customer.
    Unknown,
}

impl Store {
    /// The records as they are delivered.
    pub(super) fn load() -> serde_json::Result<Self> {
        Ok(Self {
            state: Mutex::new(serde_json::from_str(DATA)?),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere can't leave a record half changed: each is replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All customers, by id.
    pub(super) fn customers(&self) -> Vec<Customer> {
        self.state().customers.clone()
    }

    /// The customer with `id`.
    pub(super) fn customer(&self, id: &str) -> Option<Customer> {
        let state = self.state();
        state
            .customers
            .iter()
            .find(|customer| customer.id == id)
            .cloned()
    }

    /// The customers whose name or e-mail contains `text`, or whose CPF has its digits. Case and
    /// accents do not count.
    pub(super) fn find(&self, text: &str) -> Vec<Customer> {
        let wanted = fold(text);
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let is_cpf = digits.len() == 11
            && text
                .chars()
                .all(|c| c.is_ascii_digit() || " .-/".contains(c));
        self.customers()
            .into_iter()
            .filter(|customer| {
                if is_cpf {
                    return customer
                        .cpf
                        .chars()
                        .filter(char::is_ascii_digit)
                        .eq(digits.chars());
                }
                fold(&customer.name).contains(&wanted) || fold(&customer.email).contains(&wanted)
            })
            .collect()
    }

    /// All orders, oldest first.
    pub(super) fn orders(&self) -> Vec<Order> {
        self.state().orders.clone()
    }

    /// The order with `id`.
    pub(super) fn order(&self, id: &str) -> Option<Order> {
        self.state()
            .orders
            .iter()
            .find(|order| order.id == id)
            .cloned()
    }

    /// The notes about a customer, oldest first.
    pub(super) fn notes_of(&self, customer_id: &str) -> Vec<Note> {
        let state = self.state();
        state
            .notes
            .iter()
            .filter(|note| note.customer_id == customer_id)
            .cloned()
            .collect()
    }

    /// The ids of the customers about whom there are notes, in order.
    pub(super) fn customers_with_notes(&self) -> Vec<String> {
        let state = self.state();
        state
            .customers
            .iter()
            .map(|customer| &customer.id)
            .filter(|id| state.notes.iter().any(|note| note.customer_id == **id))
            .cloned()
            .collect()
    }

    /// How many notes there are.
    pub(super) fn note_count(&self) -> usize {
        self.state().notes.len()
    }

    /// Adds a note; `None` where there is no such customer. Also says whether it is their first.
    pub(super) fn add_note(&self, customer_id: &str, text: &str) -> Option<(Note, bool)> {
        let mut state = self.state();
        state.customers.iter().find(|c| c.id == customer_id)?;
        let first = !state.notes.iter().any(|n| n.customer_id == customer_id);
        let note = Note {
            id: format!("note-{:04}", state.notes.len() + 1),
            customer_id: customer_id.to_owned(),
            text: text.to_owned(),
        };
        state.notes.push(note.clone());
        Some((note, first))
    }

    /// Replaces the address of a customer whose record is still at `revision`.
    pub(super) fn change_address(&self, id: &str, revision: u64, address: Address) -> Change {
        let mut state = self.state();
        let Some(customer) = state.customers.iter_mut().find(|c| c.id == id) else {
            return Change::Unknown;
        };
        if customer.revision != revision {
            return Change::Outdated;
        }
        customer.address = address;
        customer.revision += 1;
        Change::Made
    }
}

/// Lower case without the accents of Portuguese.
pub(super) fn fold(text: &str) -> String {
    text.chars()
        .flat_map(char::to_lowercase)
        .map(|c| match c {
            'á' | 'à' | 'â' | 'ã' => 'a',
            'é' | 'ê' => 'e',
            'í' => 'i',
            'ó' | 'ô' | 'õ' => 'o',
            'ú' | 'ü' => 'u',
            'ç' => 'c',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The two check digits of a CPF (Receita Federal, modulo 11).
    fn has_valid_check_digits(cpf: &str) -> bool {
        let digits: Vec<u32> = cpf.chars().filter_map(|c| c.to_digit(10)).collect();
        let check = |length: usize| {
            let sum: u32 = digits[..length]
                .iter()
                .zip((2..=u32::try_from(length).unwrap() + 1).rev())
                .map(|(digit, weight)| digit * weight)
                .sum();
            sum * 10 % 11 % 10
        };
        digits.len() == 11 && check(9) == digits[9] && check(10) == digits[10]
    }

    #[test]
    fn the_people_are_complete_and_synthetic() {
        let store = Store::load().unwrap();
        let customers = store.customers();
        assert_eq!(customers.len(), 25);
        let cpfs: HashSet<_> = customers.iter().map(|c| &c.cpf).collect();
        assert_eq!(cpfs.len(), customers.len(), "every CPF once");
        for customer in &customers {
            assert!(has_valid_check_digits(&customer.cpf), "{}", customer.cpf);
            let domain = customer.email.split('@').nth(1).unwrap();
            assert!(
                matches!(domain, "example.com" | "example.com.br"),
                "{domain}"
            );
            assert_eq!(customer.address.cep.len(), 9, "{}", customer.address.cep);
        }
    }

    #[test]
    fn orders_and_notes_belong_to_somebody_and_add_up() {
        let store = Store::load().unwrap();
        assert_eq!(store.orders().len(), 60);
        for order in store.orders() {
            assert!(store.customer(&order.customer_id).is_some(), "{}", order.id);
            let sum: u64 = order
                .items
                .iter()
                .map(|item| u64::from(item.quantity) * item.unit_price_cents)
                .sum();
            assert_eq!(sum, order.total_cents, "{}", order.id);
        }
        assert!(!store.customers_with_notes().is_empty());
    }

    #[test]
    fn people_are_found_without_accents_and_by_cpf_in_any_spelling() {
        let store = Store::load().unwrap();
        let ids =
            |text: &str| -> Vec<String> { store.find(text).into_iter().map(|c| c.id).collect() };
        assert_eq!(ids("conceicao"), ["cus-0001"]);
        assert_eq!(ids("JOAO.GUIMARAES@"), ["cus-0002"]);
        assert_eq!(ids("22948012457"), ["cus-0001"]);
        assert_eq!(ids("229.480.124-57"), ["cus-0001"]);
        assert_eq!(ids("229.480.124-58"), Vec::<String>::new());
    }

    #[test]
    fn a_change_holds_for_the_revision_that_was_confirmed() {
        let store = Store::load().unwrap();
        let before = store.customer("cus-0001").unwrap();
        let address = store.customer("cus-0002").unwrap().address;
        let change = |revision| store.change_address("cus-0001", revision, address.clone());
        assert_eq!(change(before.revision), Change::Made);
        assert_eq!(change(before.revision), Change::Outdated);
        assert_eq!(store.customer("cus-0001").unwrap().address, address);
    }
}
