//! The written form of rollouts and of analysis templates.
//!
//! [`parse`] turns YAML, or JSON, into [`Documents`]: the typed [`Rollout`]s and [`AnalysisTemplate`]s,
//! each with a map from every node to its line and column, so that whoever finds fault later can still
//! point at it. All faults of the form are told at once. What the engine writes into a cluster, a rollout's
//! status, requests, the record of an analysis, is here as types as well. Settings of providers, sources and checks stay
//! raw JSON: the crates that own them read them. Nothing here touches a file, a clock or the network.

mod argument;
mod diagnostic;
mod document;
mod form;
mod nearest;
mod node;
mod object;
mod place;
mod rollout;
mod scalar;
mod schema;
mod template;

pub use self::{
    argument::Argument,
    diagnostic::{Diagnostic, Severity},
    document::{API_VERSION, Document, Documents, KINDS, Kind, Template, parse},
    form::check as check_form,
    nearest::nearest,
    object::{
        AnalysisMeasurement, AnalysisRun, AnalysisRunCheck, AnalysisRunInput, AnalysisRunPhase,
        AnalysisRunSpec, AnalysisRunStatus, AnalysisWindow, CheckStatus, Comparison, Condition,
        ConditionStatus, EngineStatus, HoldStatus, LastDecision, RequestOutcome, RequestStatus,
        RequestVerb, RolloutRequest, RolloutRequestSpec, RolloutStatus, StepStatus, StoredRecord,
        TrafficStatus, VerdictWord,
    },
    place::{Path, Place, Places},
    rollout::{
        Alert, AlertAction, Analysis, Check, Contents, During, Follow, Gap, Gate, ManualGate,
        Metadata, OnDeadline, OnExpired, OnInconclusive, RevisionQuery, Rollout, Side, Source,
        Spec, Step, Traffic, Workload,
    },
    scalar::{Duration, Name, Percent, show_duration},
    schema::{schema, schema_for, without_null},
    template::{AnalysisTemplate, Declared, TemplateSpec, TemplateUse},
};
