/* SPDX-License-Identifier: MIT */
/*
 * vma_tree: a B+-tree in which every entry knows the largest gap below it.
 *
 *   level 1     start   10 | 40 | 90       smallest start under the entry
 *               gap     10 | 25 |  4       largest gap under the entry
 *                       /     |     \
 *   level 0    start  10 20  40 80  90 97  the VMA's start
 *              gap    10  0  15 25   4  3  bytes between it and the last one
 *                      |  |   |  |   |  |
 *                    struct vma, 48 bytes each
 *
 * All levels use one kind of node and one rule: an entry is the summary of what
 * is under it. So a change is made in one leaf and then summaries are copied
 * towards the root until one does not change. Starts are exact minima, not mere
 * separators; that costs nothing and lets a VMA's start move in place.
 *
 * A node is six cache lines (vma_node.h); a look-up reads three of them. There
 * are no parent or sibling links: the path from the root is a few nodes long,
 * and in the cache after the first descent.
 *
 * Why not a red-black tree, as the kernel had until 6.1: at a million VMAs it
 * is 20 or more dependent cache misses deep where this is 5 or 6 nodes, and its
 * links and gap cost every VMA 32 bytes or more; here it is 26 in full nodes.
 *
 * Fill: every node has at least NODE_MIN entries, except those on the left and
 * right edge of the tree, which need one. The exception is what lets programs
 * that map upwards (or downwards) fill their nodes: a split on the edge leaves
 * the old node full and begins a new one, instead of leaving two halves.
 */
#include "mm/vma_tree.h"

#include "base/check.h"
#include "mm/vma_node.h"

/* Spare nodes kept between changes: two inserts into a tall tree. */
#define SPARES_KEPT 16

/* The entries taken from the root to a leaf; level 0 is the leaf. at[0] is -1
 * if every start is above the address sought. */
struct path {
    struct vma_node *node[VMA_TREE_HEIGHT_MAX];
    int at[VMA_TREE_HEIGHT_MAX];
};

struct slab_cache vma_node_cache =
    SLAB_CACHE("vma_node", sizeof(struct vma_node));

/* ---- Nodes and the reserve --------------------------------------------- */

static struct vma_node *make_node(struct vma_tree *tree)
{
    struct vma_node *node = spares_take(&tree->spares);

    vma_node_clear(node, 0, NODE_SLOTS);
    tree->nnodes++;
    return node;
}

static void drop_node(struct vma_tree *tree, struct vma_node *node)
{
    tree->nnodes--;
    spares_give(&tree->spares, node, SPARES_KEPT);
}

void vma_tree_init(struct vma_tree *tree)
{
    *tree = (struct vma_tree){.spares.cache = &vma_node_cache};
}

static void destroy_node(struct vma_tree *tree, struct vma_node *node,
                         unsigned level, void (*drop)(struct vma *vma))
{
    for (int i = 0, n = vma_node_fill(node); i < n; i++) {
        if (level > 0)
            destroy_node(tree, node->slot[i].node, level - 1, drop);
        else
            drop(node->slot[i].vma);
    }
    slab_free(&vma_node_cache, node);
}

void vma_tree_destroy(struct vma_tree *tree, void (*drop)(struct vma *vma))
{
    if (tree->root)
        destroy_node(tree, tree->root, tree->height - 1, drop);
    spares_trim(&tree->spares, 0);
    vma_tree_init(tree);
}

/*
 * An insert splits at most every node of its path and adds a root. Several
 * inserts never need more than that each: the second root in a row is 14
 * splits of its children away, and none of those added a root of its own.
 */
static size_t worst_case(const struct vma_tree *tree, unsigned ninserts)
{
    return (size_t)ninserts * (tree->height + 1);
}

int vma_tree_reserve(struct vma_tree *tree, unsigned ninserts)
{
    return spares_top_up(&tree->spares, worst_case(tree, ninserts));
}

void vma_tree_trim(struct vma_tree *tree, unsigned ninserts)
{
    size_t need = worst_case(tree, ninserts);

    if (tree->root && need < SPARES_KEPT)
        need = SPARES_KEPT;
    spares_trim(&tree->spares, need);
}

/* ---- Looking up -------------------------------------------------------- */

/* The address to search for: no VMA lies at the last byte, so the one below
 * finds the same and keeps unused entries out. */
static uintptr_t searchable(uintptr_t addr)
{
    return addr == NO_START ? addr - 1 : addr;
}

struct vma *vma_tree_floor(const struct vma_tree *tree, uintptr_t addr)
{
    const struct vma_node *node = tree->root;

    addr = searchable(addr);
    for (unsigned level = tree->height; level > 0; level--) {
        int n;

        /* The slots' lines arrive while the starts are counted. */
        __builtin_prefetch(&node->slot[0]);
        __builtin_prefetch(&node->slot[NODE_SLOTS / 2]);
        n = vma_node_rank(node, addr);
        if (n == 0)
            return NULL;
        if (level == 1)
            return node->slot[n - 1].vma;
        node = node->slot[n - 1].node;
    }
    return NULL;
}

/* The path to the last entry that starts at or below addr. Requires: the tree
 * is not empty. */
static void seek(const struct vma_tree *tree, uintptr_t addr, struct path *path)
{
    struct vma_node *node = tree->root;

    for (unsigned level = tree->height - 1; level > 0; level--) {
        int n = vma_node_rank(node, addr);

        path->node[level] = node;
        path->at[level] = n > 0 ? n - 1 : 0;
        node = node->slot[path->at[level]].node;
    }
    path->node[0] = node;
    path->at[0] = vma_node_rank(node, addr) - 1;
}

/* The first entry from `at` on, in the direction of `step`, with such a gap;
 * or -1. */
static int scan(const struct vma_node *node, int at, int step, size_t min_gap)
{
    for (; at >= 0 && at < NODE_SLOTS; at += step)
        if (node->gap[at] >= min_gap && node->start[at] != NO_START)
            return at;
    return -1;
}

/*
 * Up from the leaf, on the side of `step`, to the first entry that promises a
 * gap; then down again, where each level must keep that promise.
 */
static struct vma *find_gap(const struct vma_tree *tree, uintptr_t addr,
                            int step, size_t min_gap, size_t *ret_gap)
{
    struct path path;
    const struct vma_node *node = tree->root;
    unsigned level;
    int at = -1;

    if (!node)
        return NULL;
    seek(tree, searchable(addr), &path);
    for (level = 0; level < tree->height; level++) {
        /* The entry of the path itself counts only downwards, in the leaf. */
        bool skip = step > 0 || level > 0;

        node = path.node[level];
        at = scan(node, path.at[level] + (skip ? step : 0), step, min_gap);
        if (at >= 0)
            break;
    }
    if (at < 0)
        return NULL;
    for (; level > 0; level--) {
        node = node->slot[at].node;
        at = scan(node, step > 0 ? 0 : NODE_SLOTS - 1, step, min_gap);
    }
    if (ret_gap)
        *ret_gap = node->gap[at];
    return node->slot[at].vma;
}

struct vma *vma_tree_gap_above(const struct vma_tree *tree, uintptr_t addr,
                               size_t min_gap, size_t *ret_gap)
{
    return find_gap(tree, addr, 1, min_gap, ret_gap);
}

struct vma *vma_tree_gap_below(const struct vma_tree *tree, uintptr_t addr,
                               size_t min_gap, size_t *ret_gap)
{
    return find_gap(tree, addr, -1, min_gap, ret_gap);
}

/* ---- Changing ---------------------------------------------------------- */

/* Carries a change in the path's node at `level` towards the root. */
static void refresh(struct vma_tree *tree, struct path *path, unsigned level)
{
    for (; level + 1 < tree->height; level++) {
        struct vma_node *parent = path->node[level + 1];
        int at = path->at[level + 1];
        struct vma_entry sum = vma_node_summary(path->node[level]);

        if (vma_node_has(parent, at, sum))
            return;
        vma_node_put(parent, at, sum);
    }
}

/* True if the path's node at `level` is the tree's first (last) there. */
static bool on_left_edge(const struct vma_tree *tree, const struct path *path,
                         unsigned level)
{
    while (++level < tree->height)
        if (path->at[level] > 0)
            return false;
    return true;
}

static bool on_right_edge(const struct vma_tree *tree, const struct path *path,
                          unsigned level)
{
    while (++level < tree->height)
        if (path->at[level] + 1 < vma_node_fill(path->node[level]))
            return false;
    return true;
}

/*
 * How many entries stay in a full node of the path that gets one more at `at`.
 * A run of inserts in one direction comes back to the same place, so that place
 * gets the room: all of it on the tree's edges, as much as NODE_MIN allows at
 * the end of a node inside. On the left edge `at` is 0 in a leaf, 1 in a leaf
 * that begins with a heap, and 1 in the levels above.
 */
static int split_point(const struct vma_tree *tree, const struct path *path,
                       unsigned level, int at)
{
    if (at == NODE_SLOTS)
        return on_right_edge(tree, path, level) ? NODE_SLOTS
                                                : NODE_SLOTS + 1 - NODE_MIN;
    if (at <= 1 && on_left_edge(tree, path, level))
        return at;
    return NODE_SLOTS / 2;
}

/* Moves the entries from `cut` on to a new node, which is returned, and puts
 * `entry` where it belongs in either. */
static struct vma_node *split(struct vma_tree *tree, struct vma_node *left,
                              int cut, int at, struct vma_entry entry)
{
    struct vma_node *right = make_node(tree);

    vma_node_move(right, 0, left, cut, NODE_SLOTS - cut);
    vma_node_clear(left, cut, NODE_SLOTS - cut);
    if (at <= cut && cut < NODE_SLOTS)
        vma_node_insert(left, at, entry);
    else
        vma_node_insert(right, at - cut, entry);
    return right;
}

static void add_root(struct vma_tree *tree)
{
    struct vma_node *old = tree->root;

    tree->root = make_node(tree);
    if (old)
        vma_node_put(tree->root, 0, vma_node_summary(old));
    tree->height++;
    CHECK(tree->height <= VMA_TREE_HEIGHT_MAX);
}

void vma_tree_insert(struct vma_tree *tree, struct vma *vma, size_t gap)
{
    struct vma_entry entry = {vma->start, {.vma = vma}, gap};
    struct path path;
    struct vma_node *node;
    unsigned level = 0;

    if (!tree->root)
        add_root(tree);
    seek(tree, vma->start, &path);
    for (;; level++) {
        int at = path.at[level] + 1;

        node = path.node[level];
        if (vma_node_fill(node) < NODE_SLOTS) {
            vma_node_insert(node, at, entry);
            break;
        }
        entry = vma_node_summary(
            split(tree, node, split_point(tree, &path, level, at), at, entry));
        if (level + 1 == tree->height) {
            add_root(tree);
            vma_node_insert(tree->root, 1, entry);
            return;
        }
        vma_node_put(path.node[level + 1], path.at[level + 1],
                     vma_node_summary(node));
    }
    refresh(tree, &path, level);
}

/* Makes one of the entries `at` and `at + 1` of `parent`, or shares them out
 * evenly if they are too many for one. */
static void join(struct vma_tree *tree, struct vma_node *parent, int at)
{
    struct vma_node *left = parent->slot[at].node;
    struct vma_node *right = parent->slot[at + 1].node;
    int nleft = vma_node_fill(left);
    int nright = vma_node_fill(right);
    int half = (nleft + nright) / 2;

    if (nleft + nright <= NODE_SLOTS) {
        vma_node_move(left, nleft, right, 0, nright);
        drop_node(tree, right);
        vma_node_delete(parent, at + 1);
    } else if (nleft < half) {
        int n = half - nleft;

        vma_node_move(left, nleft, right, 0, n);
        vma_node_move(right, 0, right, n, nright - n);
        vma_node_clear(right, nright - n, n);
        vma_node_put(parent, at + 1, vma_node_summary(right));
    } else {
        int n = nleft - half;

        vma_node_move(right, n, right, 0, nright);
        vma_node_move(right, 0, left, half, n);
        vma_node_clear(left, half, n);
        vma_node_put(parent, at + 1, vma_node_summary(right));
    }
    vma_node_put(parent, at, vma_node_summary(left));
}

/* Brings the parent of the path's node at `level` up to date after that node
 * lost an entry. */
static void settle(struct vma_tree *tree, struct path *path, unsigned level)
{
    struct vma_node *node = path->node[level];
    struct vma_node *parent = path->node[level + 1];
    int at = path->at[level + 1];
    int n = vma_node_fill(node);

    if (n == 0) {
        drop_node(tree, node);
        vma_node_delete(parent, at);
    } else if (n < NODE_MIN && vma_node_fill(parent) > 1) {
        join(tree, parent, at > 0 ? at - 1 : 0);
    } else {
        vma_node_put(parent, at, vma_node_summary(node));
    }
}

/* Drops roots that do not branch. */
static void lower_root(struct vma_tree *tree)
{
    while (tree->height > 0) {
        struct vma_node *root = tree->root;
        int n = vma_node_fill(root);

        if (n > 1 || (n == 1 && tree->height == 1))
            return;
        tree->root = n == 1 ? root->slot[0].node : NULL;
        tree->height--;
        drop_node(tree, root);
    }
}

void vma_tree_remove(struct vma_tree *tree, uintptr_t start)
{
    struct path path;

    CHECK(tree->root);
    seek(tree, start, &path);
    CHECK(path.at[0] >= 0 && path.node[0]->start[path.at[0]] == start);
    vma_node_delete(path.node[0], path.at[0]);
    for (unsigned level = 0; level + 1 < tree->height; level++)
        settle(tree, &path, level);
    lower_root(tree);
}

void vma_tree_update(struct vma_tree *tree, uintptr_t start, struct vma *vma,
                     size_t gap)
{
    struct path path;

    CHECK(tree->root);
    seek(tree, start, &path);
    CHECK(path.at[0] >= 0 && path.node[0]->slot[path.at[0]].vma == vma);
    vma_node_put(path.node[0], path.at[0],
                 (struct vma_entry){vma->start, {.vma = vma}, gap});
    refresh(tree, &path, 0);
}

/* ---- Checking ---------------------------------------------------------- */

struct audit {
    size_t nnodes;
    uintptr_t end; /* of the last VMA seen */
};

static bool leaf_entry_is_valid(const struct vma_node *node, int at,
                                struct audit *audit)
{
    const struct vma *vma = node->slot[at].vma;
    bool ok = vma->start == node->start[at] && vma->start >= audit->end &&
              vma->start - audit->end == node->gap[at];

    audit->end = vma->end;
    return ok;
}

/* `left` and `right`: the node is on that edge of the tree. */
static bool node_is_valid(const struct vma_node *node, unsigned level,
                          bool left, bool right, struct audit *audit)
{
    int n = vma_node_fill(node);

    audit->nnodes++;
    if (n < (left || right ? 1 : NODE_MIN) || !vma_node_is_clear_from(node, n))
        return false;
    for (int i = 0; i < n; i++) {
        struct vma_node *child = node->slot[i].node;

        if (i > 0 && node->start[i - 1] >= node->start[i])
            return false;
        if (level == 0 && !leaf_entry_is_valid(node, i, audit))
            return false;
        if (level > 0 && (!vma_node_has(node, i, vma_node_summary(child)) ||
                          !node_is_valid(child, level - 1, left && i == 0,
                                         right && i == n - 1, audit)))
            return false;
    }
    return true;
}

bool vma_tree_is_valid(const struct vma_tree *tree, uintptr_t floor)
{
    struct audit audit = {.end = floor};

    if (!tree->root)
        return tree->height == 0 && tree->nnodes == 0;
    if (tree->height == 0 ||
        (tree->height > 1 && vma_node_fill(tree->root) < 2))
        return false;
    return node_is_valid(tree->root, tree->height - 1, true, true, &audit) &&
           audit.nnodes == tree->nnodes;
}

size_t vma_tree_memory(const struct vma_tree *tree)
{
    return (tree->nnodes + tree->spares.count) * sizeof(struct vma_node);
}
