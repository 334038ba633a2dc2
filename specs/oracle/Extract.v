(** The model as an OCaml program: numbers become zarith's, lists, options, pairs and booleans OCaml's own. *)
From Ecusson Require Import Boot.
From Coq Require Import Extraction ExtrOcamlBasic ExtrOcamlZBigInt ExtrOcamlNatInt.
(** A name that nothing else has. *)
Definition entries {A} (m : map A) : list (N * A) := elements m.

Extraction Language OCaml.
Extraction "kernel_model.ml" boot step enter_exec may_choose put_back actor live entries thr ctx held_by note_of in_page
  kind_code error_code.
