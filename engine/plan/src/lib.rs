//! The written form joined with the registries: schema, defaults, a validated plan.
