(** Finite maps from numbers, and maps of maps. Everything the model stores is in these. *)
From Coq Require Export NArith List Bool Lia.
From Coq Require Import FMapPositive.
Export ListNotations.
Open Scope N_scope.

Module PM := PositiveMap.

Definition map (A : Type) := PM.t A.

Section Map.
  Context {A : Type}.
  Definition empty : map A := PM.empty A.
  Definition get (k : N) (m : map A) : option A := PM.find (N.succ_pos k) m.
  Definition set (k : N) (v : A) (m : map A) : map A := PM.add (N.succ_pos k) v m.
  Definition del (k : N) (m : map A) : map A := PM.remove (N.succ_pos k) m.
  Definition elements (m : map A) : list (N * A) :=
    List.map (fun kv => (Pos.pred_N (fst kv), snd kv)) (PM.elements m).
  (** Whether some entry satisfies a test. *)
  Definition any (f : N -> A -> bool) (m : map A) : bool := existsb (fun kv => f (fst kv) (snd kv)) (elements m).
  (** An entry that satisfies a test, if there is one. *)
  Definition search (f : N -> A -> bool) (m : map A) : option N :=
    option_map fst (List.find (fun kv => f (fst kv) (snd kv)) (elements m)).
  Definition has (k : N) (m : map A) : bool := match get k m with Some _ => true | None => false end.

  Lemma succ_pos_inj k k' : N.succ_pos k = N.succ_pos k' -> k = k'.
  Proof. intro H. rewrite <- (N.pred_succ k), <- (N.pred_succ k'). f_equal.
    rewrite <- !N.succ_pos_spec. now rewrite H. Qed.

  Lemma get_empty k : get k empty = None.
  Proof. apply PM.gempty. Qed.

  Lemma get_set k k' v m : get k (set k' v m) = if k =? k' then Some v else get k m.
  Proof.
    unfold get, set. destruct (N.eqb_spec k k') as [->|n].
    - apply PM.gss.
    - apply PM.gso. intro H. now apply n, succ_pos_inj.
  Qed.

  Lemma get_del k k' m : get k (del k' m) = if k =? k' then None else get k m.
  Proof.
    unfold get, del. destruct (N.eqb_spec k k') as [->|n].
    - apply PM.grs.
    - apply PM.gro. intro H. now apply n, succ_pos_inj.
  Qed.

  Lemma succ_pos_pred p : N.succ_pos (Pos.pred_N p) = p.
  Proof.
    enough (N.pos (N.succ_pos (Pos.pred_N p)) = N.pos p) as E by now injection E.
    rewrite N.succ_pos_spec, N.pos_pred_spec. now apply N.succ_pred.
  Qed.

  Lemma in_elements k v m : In (k, v) (elements m) <-> get k m = Some v.
  Proof.
    unfold elements, get. rewrite in_map_iff. split.
    - intros [[p w] [E H]]. cbn in E. injection E as <- <-. apply PM.elements_complete in H.
      now rewrite succ_pos_pred.
    - intro H. exists (N.succ_pos k, v). split.
      + cbn. f_equal. rewrite N.pos_pred_spec, N.succ_pos_spec. apply N.pred_succ.
      + now apply PM.elements_correct.
  Qed.

  Lemma any_false f m k v : any f m = false -> get k m = Some v -> f k v = false.
  Proof.
    intros H G. destruct (f k v) eqn:E; [|reflexivity].
    assert (any f m = true) as T; [|now rewrite T in H].
    apply existsb_exists. exists (k, v). split; [now apply in_elements|exact E].
  Qed.

  Lemma search_some f m k : search f m = Some k -> exists v, get k m = Some v /\ f k v = true.
  Proof.
    unfold search. destruct (List.find _ _) as [[k' v]|] eqn:E; [|discriminate].
    cbn. intros [= ->]. apply List.find_some in E. destruct E as [H F]. exists v. split; [now apply in_elements|exact F].
  Qed.

  Lemma search_none f m k v : search f m = None -> get k m = Some v -> f k v = false.
  Proof.
    unfold search. destruct (List.find _ _) as [kv|] eqn:E; [discriminate|]. intros _ G.
    apply (List.find_none _ _ E (k, v)). now apply in_elements.
  Qed.

  Lemma has_true k m : has k m = true <-> exists v, get k m = Some v.
  Proof. unfold has. destruct (get k m); split; eauto; try discriminate. intros [v H]; discriminate. Qed.
  Lemma has_false k m : has k m = false <-> get k m = None.
  Proof. unfold has. destruct (get k m); split; congruence. Qed.
End Map.

Section Map2.
  Context {A : Type}.
  Definition row (k : N) (m : map (map A)) : map A := match get k m with Some r => r | None => empty end.
  Definition get2 (k i : N) (m : map (map A)) : option A := get i (row k m).
  Definition set2 (k i : N) (v : A) (m : map (map A)) : map (map A) := set k (set i v (row k m)) m.
  Definition del2 (k i : N) (m : map (map A)) : map (map A) := set k (del i (row k m)) m.

  Lemma row_set k k' r m : row k (set k' r m) = if k =? k' then r else row k m.
  Proof. unfold row. rewrite get_set. now destruct (k =? k'). Qed.

  Lemma get2_set2 k i k' i' v m :
    get2 k i (set2 k' i' v m) = if (k =? k') && (i =? i') then Some v else get2 k i m.
  Proof.
    unfold get2, set2. rewrite row_set. destruct (N.eqb_spec k k') as [->|]; [|reflexivity].
    cbn. now rewrite get_set.
  Qed.

  Lemma get2_del2 k i k' i' m :
    get2 k i (del2 k' i' m) = if (k =? k') && (i =? i') then None else get2 k i m.
  Proof.
    unfold get2, del2. rewrite row_set. destruct (N.eqb_spec k k') as [->|]; [|reflexivity].
    cbn. now rewrite get_del.
  Qed.

  Lemma get2_del k i k' m : get2 k i (del k' m) = if k =? k' then None else get2 k i m.
  Proof. unfold get2, row. rewrite get_del. destruct (k =? k'); [apply get_empty|reflexivity]. Qed.
End Map2.

(** The numbers from [first] on. *)
Fixpoint upto (first : N) (count : nat) : list N :=
  match count with O => [] | S n => first :: upto (N.succ first) n end.

Lemma in_upto x first count : In x (upto first count) <-> first <= x < first + N.of_nat count.
Proof.
  revert first. induction count as [|n IH]; intro first; cbn [upto In].
  - split; [easy|lia].
  - rewrite IH. lia.
Qed.
