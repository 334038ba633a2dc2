(** How the invariants are shown: each primitive change is opened, its guards are split, and what it leaves alone is discharged. *)
From Ecusson Require Export Step.Entry.

Ltac open_prims :=
  unfold new_simple, new_upper, new_slice, new_device, send_cap, copy_cap, drop_cap, condemn, remove_object, forget, take_next, retag, untag, refill,
    set_pool, att_begin, att_map, att_unmap, att_end, call_begin, call_serve, call_end, run_own, lend, take_back, let_go,
    bind_home, unbind_home, set_server, unset_server, bind_note, unbind_note, set_current, set_clock, set_thr, set_ctx,
    set_portal, set_bits, set_pages, set_table, unset_table, add_object, set_body in *; cbv zeta in *.
Ltac split_guards :=
  repeat match goal with |- context [match ?x with _ => _ end] => destruct x eqn:? end.
(** The reduction of projections is kept from unfolding anything else. *)
Ltac ands := repeat match goal with
  | H : _ && _ = true |- _ => apply andb_prop in H; destruct H
  | H : negb _ = true |- _ => apply negb_true_iff in H
  | H : _ || _ = false |- _ => apply orb_false_elim in H; destruct H
  | H : (_ =? _) = true |- _ => apply N.eqb_eq in H
  | H : (_ =? _) = false |- _ => apply N.eqb_neq in H
  | H : (_ <? _) = true |- _ => apply N.ltb_lt in H
  | H : (_ <=? _) = true |- _ => apply N.leb_le in H
  end.

Lemma body_of_get a s b : body_of a s = Some b -> exists o, get a (objs s) = Some o /\ o_body o = b.
Proof. unfold body_of. destruct (get a (objs s)) as [o|]; cbn; [|discriminate]. intros [= <-]. eauto. Qed.
Lemma has_obj_false a s : has_obj a s = false -> get a (objs s) = None.
Proof. unfold has_obj. apply has_false. Qed.
