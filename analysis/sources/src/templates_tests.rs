//! What templates may say, and what they can never do.

use std::time::Duration;

use super::*;

fn scope() -> TemplateScope {
    let labels = |version: &str| BTreeMap::from([("version".to_owned(), version.to_owned())]);
    TemplateScope {
        namespace: "shop".into(),
        name: "checkout".into(),
        sides: [("blue".into(), labels("v1")), ("green".into(), labels("v2"))],
        arguments: BTreeMap::from([("job".to_owned(), "api".to_owned())]),
    }
}

fn resolved(text: &str, scope: &TemplateScope, role: Role) -> Result<String, SettingsError> {
    let query = Template::read("/promql", text, scope)?.resolve(scope, role)?;
    Ok(query.text(Duration::from_secs(30)))
}

#[test]
fn roles_labels_window_and_arguments_are_resolved() {
    let text = "sum(rate(x{ {{ canary.labels }},side!=\"{{ stable }}\",ns=\"{{ namespace }}\",\
                job=\"{{ job }}\"}[{{ window }}])) # {{ name }} {{ canary.name }}";
    assert_eq!(
        resolved(text, &scope(), Role::SecondIsCanary).unwrap(),
        "sum(rate(x{ version=\"v2\",side!=\"blue\",ns=\"shop\",job=\"api\"}[30s])) # checkout green"
    );
    assert!(resolved(text, &scope(), Role::FirstIsCanary).unwrap().contains("version=\"v1\""));
}

#[test]
fn an_unknown_variable_is_refused_by_name_before_anything_is_asked() {
    let error = resolved("x{a=\"{{ cannary }}\"}", &scope(), Role::FirstIsCanary).unwrap_err();
    assert_eq!(error.message, "the template names `cannary`, which is not known");
    assert!(error.help.unwrap().contains("canary, stable, window, namespace, name, job"));
    let error = resolved("{{ revision }}", &scope(), Role::FirstIsCanary).unwrap_err();
    assert!(error.help.unwrap().contains("by a label"));
    assert!(resolved("{{ canary.labls }}", &scope(), Role::FirstIsCanary).is_err());
    assert!(resolved("{{ canary", &scope(), Role::FirstIsCanary).is_err());
}

#[test]
fn no_value_can_add_a_label_or_leave_its_selector() {
    let evil = "v2\"} or up{a=\"";
    let mut scope = scope();
    scope.arguments.insert("job".into(), evil.into());
    scope.sides[1].1.insert("version".into(), evil.into());
    let escaped = "v2\\\"} or up{a=\\\"";
    for text in ["x{job=\"{{ job }}\"}", "x{job=\"{{ job | promql }}\"}"] {
        let query = resolved(text, &scope, Role::SecondIsCanary).unwrap();
        assert_eq!(query, format!("x{{job=\"{escaped}\"}}"), "{text}");
        assert!(promql::is_selector(&query));
    }
    let query = resolved("x{ {{ canary.labels }} }", &scope, Role::SecondIsCanary).unwrap();
    assert_eq!(query, format!("x{{ version=\"{escaped}\" }}"));
    assert!(promql::is_selector(&query));
    scope.sides[1].1.insert("a=\"b\",c".into(), "d".into());
    assert!(
        resolved("x", &scope, Role::SecondIsCanary)
            .unwrap_err()
            .message
            .contains("no name of a label")
    );
}

#[test]
fn promql_in_an_argument_is_printed_by_name_only() {
    let mut scope = scope();
    scope.arguments.insert("selector".into(), "x{a=\"b\"}".into());
    let check =
        |text, query: &str| assert_eq!(resolved(text, &scope, Role::FirstIsCanary).unwrap(), query);
    check("{{ selector | safe }}", "x{a=\"b\"}");
    check("{{ selector }}", "x{a=\\\"b\\\"}");
}

#[test]
fn a_side_without_labels_cannot_be_asked_for_them() {
    let mut scope = scope();
    scope.sides[0].1.clear();
    let error = resolved("x{ {{ canary.labels }} }", &scope, Role::FirstIsCanary).unwrap_err();
    assert!(error.message.contains("the side blue has no labels"), "{error:?}");
    assert!(resolved("x{side=\"{{ canary }}\"}", &scope, Role::FirstIsCanary).is_ok());
}

#[test]
fn sides_whose_labels_match_the_same_series_are_refused() {
    let check = |blue: &[(&str, &str)], green: &[(&str, &str)], apart: bool| {
        let labels = |labels: &[(&str, &str)]| {
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let mut scope = scope();
        scope.sides = [("blue".into(), labels(blue)), ("green".into(), labels(green))];
        let query = resolved("x{ {{ canary.labels }} }", &scope, Role::FirstIsCanary);
        assert_eq!(query.is_ok(), apart, "{blue:?} {green:?}: {query:?}");
        // A query that tells them apart by name needs no labels.
        assert!(resolved("x{side=\"{{ canary }}\"}", &scope, Role::FirstIsCanary).is_ok());
    };
    check(&[("v", "1")], &[("v", "2")], true);
    check(&[("v", "1"), ("a", "b")], &[("v", "2"), ("a", "b")], true);
    check(&[("v", "1")], &[("track", "canary")], true);
    check(&[("v", "1")], &[("v", "1")], false);
    check(&[("app", "a")], &[("app", "a"), ("v", "2")], false);
    check(&[("app", "a"), ("v", "1")], &[("app", "a")], false);
}

#[test]
fn templates_end() {
    let long =
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}";
    assert!(resolved(long, &scope(), Role::FirstIsCanary).is_err());
    let deep = format!("{{{{ {}1 }}}}", "1+".repeat(2000));
    let _ = resolved(&deep, &scope(), Role::FirstIsCanary);
    let wide = "{{ 'x' * 100000 }}";
    assert!(resolved(wide, &scope(), Role::FirstIsCanary).is_err());
    assert!(resolved("{{ window | upper }}", &scope(), Role::FirstIsCanary).is_err());
}
