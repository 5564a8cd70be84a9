//! What an expression may be made of: known names, few functions, and macros that cannot grow. Pure.
//!
//! With this, and with a small document, the time that an expression takes is bounded before it runs.

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr};

/// How many operations one round of a macro may have, and how many macros there are.
const ROUND_MAX: usize = 64;
const MACROS_MAX: usize = 4;
const FUNCTIONS: [&str; 8] =
    ["size", "contains", "startsWith", "endsWith", "int", "uint", "double", "string"];

/// Refuses an expression that names anything else than these, or could take long.
pub(super) fn check(expression: &IdedExpr, names: &[&str]) -> Result<(), String> {
    let mut bounds = Bounds { names, macros: 0 };
    bounds.walk(expression, &mut Vec::new(), None)
}

/// What is counted of an expression while it is walked.
struct Bounds<'a> {
    names: &'a [&'a str],
    macros: usize,
}

// === impl Bounds ===

impl Bounds<'_> {
    /// Refuses names and functions that are not known, and macros that could grow; `round` counts the
    /// operations of the macro around.
    fn walk(
        &mut self,
        at: &IdedExpr,
        own: &mut Vec<String>,
        mut round: Option<&mut usize>,
    ) -> Result<(), String> {
        if let Some(count) = round.as_deref_mut() {
            *count += 1;
            if *count > ROUND_MAX {
                return Err(format!("a macro has more than {ROUND_MAX} operations"));
            }
        }
        match &at.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name, own),
            Expr::Select(select) => self.walk(&select.operand, own, round),
            Expr::List(list) => {
                let mut all = list.elements.iter();
                all.try_for_each(|one| self.walk(one, own, round.as_deref_mut()))
            }
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.walk(&entry.key, own, round.as_deref_mut())?;
                    self.walk(&entry.value, own, round.as_deref_mut())
                }
                EntryExpr::StructField(_) => Err("structs are not known".to_owned()),
            }),
            Expr::Struct(_) => Err("structs are not known".to_owned()),
            Expr::Call(call) => {
                let is_word = call.func_name.chars().all(char::is_alphanumeric);
                if is_word && !FUNCTIONS.contains(&call.func_name.as_str()) {
                    let known = FUNCTIONS.join(", ");
                    return Err(format!("{} is not known; known are {known}", call.func_name));
                }
                let mut all = call.target.iter().map(|target| &**target).chain(&call.args);
                all.try_for_each(|one| self.walk(one, own, round.as_deref_mut()))
            }
            Expr::Comprehension(rounds) => self.rounds(rounds, own, round.is_some()),
        }
    }

    fn rounds(
        &mut self,
        rounds: &ComprehensionExpr,
        own: &mut Vec<String>,
        inside: bool,
    ) -> Result<(), String> {
        self.macros += 1;
        if inside || self.macros > MACROS_MAX {
            return Err(format!("a macro stands in another, or there are more than {MACROS_MAX}"));
        }
        if !grows_not(rounds) {
            return Err("`map` is not known: pick the values by jsonPath".to_owned());
        }
        self.walk(&rounds.iter_range, own, None)?;
        let mut names: Vec<String> = own.clone();
        names.extend([rounds.iter_var.clone(), rounds.accu_var.clone()]);
        names.extend(rounds.iter_var2.clone());
        let mut count = 0;
        for part in [&rounds.accu_init, &rounds.loop_cond, &rounds.loop_step, &rounds.result] {
            self.walk(part, &mut names, Some(&mut count))?;
        }
        Ok(())
    }

    fn name(&self, name: &str, own: &[String]) -> Result<(), String> {
        if self.names.contains(&name) || own.iter().any(|own| own == name) {
            return Ok(());
        }
        Err(format!("{name} is not known; known are {}", self.names.join(", ")))
    }
}

/// Whether what a macro collects is no more than what it goes over: `all`, `exists`, `exists_one`
/// collect nothing, `filter` collects the elements themselves.
fn grows_not(rounds: &ComprehensionExpr) -> bool {
    if !matches!(rounds.accu_init.expr, Expr::List(_) | Expr::Map(_)) {
        return true;
    }
    let Expr::Call(choice) = &rounds.loop_step.expr else { return false };
    let [_, kept, left] = choice.args.as_slice() else { return false };
    let is_accu = |at: &IdedExpr| matches!(&at.expr, Expr::Ident(name) if *name == rounds.accu_var);
    let Expr::Call(add) = &kept.expr else { return false };
    let [before, added] = add.args.as_slice() else { return false };
    let Expr::List(added) = &added.expr else { return false };
    let [IdedExpr { expr: Expr::Ident(added), .. }] = added.elements.as_slice() else {
        return false;
    };
    is_accu(left) && is_accu(before) && *added == rounds.iter_var
}
