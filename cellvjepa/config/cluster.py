"""How a store is projected to the plane and divided into clusters."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cellvjepa.config.section import Section


class ClusterConfig(Section):
    """How embeddings are brought to the plane, and how clusters are found among their principal components."""

    projection: Literal["umap", "pca"] = Field("umap", title="Projection", description="How to bring the embeddings to the plane. umap: both.")
    method: Literal["hdbscan", "kmeans", "leiden"] = Field(
        "hdbscan",
        title="Clusters",
        description="hdbscan: dense groups, the rest stays unassigned; kmeans: divides everything, into the number of groups (2 to 12) with the best "
        "silhouette; leiden: communities in the graph of 15 neighbours.",
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, title="Seed", description="Of the projection, the clusters and the landmarks.")
    landmarks: Annotated[int, Field(ge=5)] | None = Field(
        None,
        title="Landmarks",
        description="Rows, drawn at random, that UMAP and clusters are fitted on; the others are placed among them. None: 100,000, and 20,000 for "
        "hdbscan. [rows]",
    )
