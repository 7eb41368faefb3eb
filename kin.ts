/**
 * The tree of tasklets: who belongs to whom, in order of birth.
 *
 * Runtime-neutral and pure: knows nothing of life and death, only places.
 *
 * @module
 */

/**
 * A place in a tree.
 *
 * @typeParam K What has such places.
 */
export abstract class Kin<K extends Kin<K>> {
  #parent: K | undefined;
  #youngest: K | undefined; // child, and down the line by `#older`
  #older: K | undefined; // siblings
  #younger: K | undefined;

  /** Who created it and waits for it, if anybody does. */
  get parent(): K | undefined {
    return this.#parent;
  }

  /** The children that have not finished, oldest first. */
  get children(): K[] {
    const children: K[] = [];
    for (let child = this.#youngest; child !== undefined; child = child.#older) children.push(child);
    return children.reverse();
  }

  /** Whether there are any. */
  protected get hasChildren(): boolean {
    return this.#youngest !== undefined;
  }

  /** Yields this one and all below it that have not finished, each with its level; parents before children. */
  *tree(): Generator<[tasklet: K, level: number]> {
    const left: [K, number][] = [[this.#self, 0]];
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      yield next;
      for (let child = next[0].#youngest; child !== undefined; child = child.#older) {
        left.push([child, next[1] + 1]);
      }
    }
  }

  /** Whether it is `ancestor`, or below it. */
  protected isBelow(ancestor: K): boolean {
    let at: K | undefined = this.#self;
    while (at !== undefined && at !== ancestor) at = at.#parent;
    return at === ancestor;
  }

  /** Becomes the youngest child of `parent`. */
  protected attachTo(parent: K): void {
    this.#parent = parent;
    this.#older = parent.#youngest;
    if (this.#older !== undefined) this.#older.#younger = this.#self;
    parent.#youngest = this.#self;
  }

  /** Is no child of its parent any more, which it remembers. */
  protected detach(): void {
    if (this.#older !== undefined) this.#older.#younger = this.#younger;
    if (this.#younger !== undefined) this.#younger.#older = this.#older;
    else if (this.#parent !== undefined) this.#parent.#youngest = this.#older;
    this.#older = this.#younger = undefined;
  }

  /** Leaves its children to `heir`; without one, they have no parent from now on. Gives them. */
  protected leaveChildrenTo(heir: K | undefined): K[] {
    const { children } = this;
    for (const child of children) {
      child.detach();
      child.#parent = undefined;
      if (heir !== undefined) child.attachTo(heir);
    }
    return children;
  }

  get #self(): K {
    return this as unknown as K;
  }
}
