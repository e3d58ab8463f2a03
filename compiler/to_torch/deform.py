"""Deformable sampling in torch: plain operators of torch, no extension, on any device."""

from __future__ import annotations

from compiler.to_torch.helpers import HELPERS, NEEDS
from compiler.to_torch.lower import Arg, Layer, Literal, Make, layer, size
from segdsl.ops.deform import CenterFeatureScale, Dcnv3Core, DeformConv
from segdsl.types import Feature, Sides

# An embedding bag is the one operator of torch that gathers rows, weighs and adds them without
# writing the gathered rows. Rows that overlap a margin of zeros need no tests for the border.
HELPERS["bilinear_sum"] = '''\
def bilinear_places(
    values: Tensor, image: Tensor, y: Tensor, x: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Where points lie: the row of the top left neighbour in the table, and the two fractions."""
    height, width, groups = values.shape[1] - 2, values.shape[2] - 2, values.shape[3]
    y, x = y.clamp(-1, height), x.clamp(-1, width)
    top = y.floor().long().clamp(-1, height - 1)
    left = x.floor().long().clamp(-1, width - 1)
    line = (image.view(-1, 1, 1, 1) * (height + 2) + top + 1) * (width + 2)
    group = torch.arange(groups, device=y.device).view(-1, 1)
    return (line + left + 1) * groups + group, y - top, x - left


def bilinear_sum(values: Tensor, image: Tensor, y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Adds up weighted points between pixels, what is outside of the map as zero.

    Args:
        values: [N, H + 2, W + 2, groups, channels], with a margin of zeros.
        image: [R], the image of each row of points.
        y, x, weight: [R, T, groups, S], the points in pixels of the map without its margin.

    Returns:
        [R, T, groups, channels], summed over S.
    """
    index, low, right = bilinear_places(values, image, y, x)
    index, groups = index.flatten(0, 2), values.shape[3]
    down = values.shape[2] * groups
    table = values.reshape(-1, values.shape[4])
    above, below = weight * (1 - low), weight * low
    corners = [above * (1 - right), above * right, below * (1 - right), below * right]
    parts = [
        F.embedding_bag(index + step, table, per_sample_weights=part.flatten(0, 2), mode="sum")
        for step, part in zip([0, groups, down, down + groups], corners)
    ]
    total = parts[0] + parts[1] + parts[2] + parts[3]
    return total.view(y.shape[0], y.shape[1], groups, values.shape[4])


def mix_points(points: Tensor, matrix: Tensor) -> Tensor:
    """[R, T, groups, channels] times a kernel [G, T * C / G, out / G]: [R, out]."""
    rows, taps, parts, each = points.shape[0], points.shape[1], matrix.shape[0], matrix.shape[1]
    split = points.reshape(rows, taps, parts, each // taps).permute(2, 0, 1, 3)
    mixed = torch.bmm(split.reshape(parts, rows, each), matrix)
    return mixed.permute(1, 0, 2).reshape(rows, parts * matrix.shape[2])


class DeformableSum(torch.autograd.Function):
    """`bilinear_sum`, then `mix_points` if there is a kernel, piece by piece.

    Nothing but the operands is kept for the gradients, so memory does not grow with the points.
    """

    @staticmethod
    def pieces(y: Tensor, channels: int) -> int:
        """Rows of points at a time: what a processor's cache holds."""
        each = y.shape[1] * y.shape[2] * max(y.shape[3], channels // 16)
        return max(1, 65536 // each)

    @staticmethod
    def forward(ctx, values, image, y, x, weight, matrix):
        ctx.save_for_backward(values, image, y, x, weight, matrix)
        found = []
        size = DeformableSum.pieces(y, values.shape[4])
        for part in zip(*(given.split(size) for given in (image, y, x, weight))):
            points = bilinear_sum(values, *part)
            found.append(points if matrix is None else mix_points(points, matrix))
        return torch.cat(found)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        values, image, y, x, weight, matrix = ctx.saved_tensors
        grad = grad.to(values.dtype)  # autocast multiplies by the kernel in halves
        to_values = torch.zeros_like(values)
        to_matrix = None if matrix is None else torch.zeros_like(matrix)
        found = []
        size = DeformableSum.pieces(y, values.shape[4])
        for part in zip(*(given.split(size) for given in (image, y, x, weight, grad))):
            given = part[4]
            if matrix is not None:
                given = DeformableSum.unmix(values, part, matrix, to_matrix)
            found.append(DeformableSum.spread(values, part, given.contiguous(), to_values))
        to_y, to_x, to_weight = (torch.cat(parts) for parts in zip(*found))
        return to_values, None, to_y, to_x, to_weight, to_matrix

    @staticmethod
    def unmix(values, part, matrix, to_matrix):
        """The gradient of the points; that of the kernel is added up."""
        image, y, x, weight, grad = part
        rows, taps, parts = y.shape[0], y.shape[1], matrix.shape[0]
        split = grad.reshape(rows, parts, -1).permute(1, 0, 2)
        points = bilinear_sum(values, image, y, x, weight).reshape(rows, taps, parts, -1)
        points = points.permute(2, 0, 1, 3).reshape(parts, rows, -1)
        to_matrix += torch.bmm(points.transpose(1, 2), split)
        back = torch.bmm(split, matrix.transpose(1, 2)).view(parts, rows, taps, -1)
        return back.permute(1, 2, 0, 3).reshape(rows, taps, *values.shape[3:])

    @staticmethod
    def spread(values, part, grad, to_values):
        """The gradients of y, x and weight; that of the values is added up."""
        image, y, x, weight = part[:4]
        table, grad = values.view(-1, values.shape[4]), grad.view(-1, values.shape[4])
        groups, down = values.shape[3], values.shape[2] * values.shape[3]
        steps = (0, groups, down, down + groups)
        index, low, right = bilinear_places(values, image, y, x)
        index = index.flatten(0, 2)
        a, b, c, d = (DeformableSum.dots(table, index + step, grad).view_as(y) for step in steps)
        b, d = b - a, d - c
        above, below = a + right * b, c + right * d
        inside = (y > -1) & (y < values.shape[1] - 2), (x > -1) & (x < values.shape[2] - 2)
        to_weight = above + low * (below - above)
        to_y = (below - above) * weight * inside[0]
        to_x = (b + low * (d - b)) * weight * inside[1]
        above, below = weight * (1 - low), weight * low
        corners = (above * (1 - right), above * right, below * (1 - right), below * right)
        keys, order = index.flatten().sort()
        first, last = int(keys[0]), int(keys[-1])
        rows = torch.arange(first, last + 2, device=keys.device)
        bags, order_rows = torch.searchsorted(keys, rows), order // y.shape[3]
        target = to_values.view(-1, values.shape[4])
        for step, corner in zip(steps, corners):
            target[first + step : last + step + 1] += F.embedding_bag(
                order_rows,
                grad,
                bags,
                per_sample_weights=corner.flatten()[order],
                mode="sum",
                include_last_offset=True,
            )
        return to_y, to_x, to_weight

    @staticmethod
    def dots(table, index, grad):
        """Each row of the gradient times the rows of the table that its points read."""
        with torch.enable_grad():
            ones = torch.ones(index.shape, dtype=grad.dtype, device=grad.device).requires_grad_()
            bags = F.embedding_bag(index, table, per_sample_weights=ones, mode="sum")
        return torch.autograd.grad(bags, ones, grad)[0]


def deformable_sum(
    values: Tensor, pixels: int, y: Tensor, x: Tensor, weight: Tensor, matrix: Tensor | None
) -> Tensor:
    """`bilinear_sum` of `pixels` rows of points a map, and `mix_points` if there is a kernel.

    In pieces, unless the program is being traced, scripted or compiled: then in one, without a
    loop over sizes, with torch's own gradients.
    """
    image = torch.arange(y.shape[0], device=y.device) // pixels
    if torch.jit.is_scripting():
        points = bilinear_sum(values, image, y, x, weight)
        return points if matrix is None else mix_points(points, matrix)
    else:
        if torch.jit.is_tracing() or torch.compiler.is_compiling() or len(y) == 0:
            points = bilinear_sum(values, image, y, x, weight)
            return points if matrix is None else mix_points(points, matrix)
        return DeformableSum.apply(values, image, y, x, weight, matrix)


def with_margin(x: Tensor, groups: int) -> Tensor:
    """[N, C, H, W] as [N, H + 2, W + 2, groups, C / groups], zeros around; halves as floats."""
    if x.dtype == torch.float16 or x.dtype == torch.bfloat16:
        x = x.float()
    y = F.pad(x.permute(0, 2, 3, 1), [0, 0, 1, 1, 1, 1]).contiguous()
    return y.reshape(y.shape[0], y.shape[1], y.shape[2], groups, x.shape[1] // groups)


def grid_lines(
    count: int, points: Tensor, kernel: int, stride: int, pad: int, dilation: int, scale: float
) -> Tensor:
    """[count, points]: where the points of the kernel's rows (or columns) lie along an axis."""
    middle = (dilation * (kernel - 1)) // 2
    line = torch.arange(count, device=points.device, dtype=points.dtype)
    first = line * stride + float(middle - pad)
    return first.view(-1, 1) + (points * dilation - middle) * scale
'''

HELPERS["dcnv3_core"] = '''\
def dcnv3_core(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    groups: int,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    offset_scale: float = 1.0,
    softmax: bool = True,
    remove_center: bool = False,
    offset_limit: float | None = None,
) -> Tensor:
    """The sampling of DCNv3 (arXiv:2211.05778): points column by column, (dx, dy)."""
    values = with_margin(x, groups)
    n, rows, columns = offset.shape[0], offset.shape[2], offset.shape[3]
    place = torch.arange(kernel[0] * kernel[1], device=x.device)
    if remove_center:
        place = torch.cat([place[: len(place) // 2], place[len(place) // 2 + 1 :]])
    i = (place // kernel[0]).to(values.dtype)
    j = (place % kernel[0]).to(values.dtype)
    y = grid_lines(rows, j, kernel[0], stride[0], padding[0], dilation[0], offset_scale)
    x0 = grid_lines(columns, i, kernel[1], stride[1], padding[1], dilation[1], offset_scale)
    moved = offset.permute(0, 2, 3, 1).to(values.dtype) * offset_scale
    if offset_limit is not None:
        moved = moved.clamp(-offset_limit, offset_limit)
    moved = moved.reshape(n, rows, columns, groups, place.shape[0], 2)
    weight = mask.permute(0, 2, 3, 1).to(values.dtype)
    weight = weight.reshape(n * rows * columns, 1, groups, place.shape[0])
    if softmax:
        weight = weight.softmax(-1)
    sampled = deformable_sum(
        values,
        rows * columns,
        (moved[..., 1] + y.view(-1, 1, 1, place.shape[0])).reshape(weight.shape),
        (moved[..., 0] + x0.view(-1, 1, place.shape[0])).reshape(weight.shape),
        weight,
        None,
    )
    return sampled.reshape(n, rows, columns, x.shape[1]).permute(0, 3, 1, 2).to(x.dtype)
'''

HELPERS["DeformConv2d"] = '''\
class DeformConv2d(nn.Conv2d):
    """Deformable convolution, version 1 or (with a mask) 2: points row by row, (dy, dx)."""

    offset_limit: float | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        offset_groups: int = 1,
        offset_limit: float | None = None,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        self.offset_groups = offset_groups
        self.offset_limit = offset_limit
        self.origin = [int(n) for n in self.padding]

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        values = with_margin(x, self.offset_groups)
        n, rows, columns = offset.shape[0], offset.shape[2], offset.shape[3]
        height, width = self.kernel_size
        taps = height * width
        place = torch.arange(taps, device=x.device)
        j, i = (place // width).to(values.dtype), (place % width).to(values.dtype)
        y = grid_lines(rows, j, height, self.stride[0], self.origin[0], self.dilation[0], 1.0)
        x0 = grid_lines(columns, i, width, self.stride[1], self.origin[1], self.dilation[1], 1.0)
        moved = offset.to(values.dtype)
        limit = self.offset_limit
        if limit is not None:
            moved = moved.clamp(-limit, limit)
        moved = moved.reshape(n, self.offset_groups, taps, 2, rows, columns)
        moved = moved.permute(0, 4, 5, 2, 1, 3)
        shape = [n * rows * columns, taps, self.offset_groups, 1]
        y = (moved[..., 0] + y.view(-1, 1, taps, 1)).reshape(shape)
        x0 = (moved[..., 1] + x0.view(-1, taps, 1)).reshape(shape)
        if mask is None:
            weight = torch.ones_like(y)
        else:
            weight = mask.to(values.dtype).reshape(n, self.offset_groups, taps, rows, columns)
            weight = weight.permute(0, 3, 4, 2, 1).reshape(shape)
        matrix = self.weight.to(values.dtype).permute(2, 3, 1, 0)
        matrix = matrix.reshape(-1, self.groups, self.out_channels // self.groups)
        found = deformable_sum(values, rows * columns, y, x0, weight, matrix.permute(1, 0, 2))
        if self.bias is not None:
            found = found + self.bias
        return found.view(n, rows, columns, self.out_channels).permute(0, 3, 1, 2).to(x.dtype)
'''

HELPERS["center_feature_scale"] = '''\
def center_feature_scale(
    x: Tensor, v: Tensor, f: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    """DCNv3's blend of what was sampled with the values at the pixel itself, group by group."""
    share = torch.sigmoid(F.linear(f.movedim(1, -1), weight, bias)).movedim(-1, 1)
    share = share.repeat_interleave(x.shape[1] // weight.shape[0], 1)
    return x * (1 - share) + v * share
'''

NEEDS["dcnv3_core"] = ("bilinear_sum",)
NEEDS["DeformConv2d"] = ("bilinear_sum",)


def _origin(sides: Sides) -> Literal:
    """The padding before the map; what is behind it shows in the size of the offset map."""
    return sides.top if sides.top == sides.left else (sides.top, sides.left)


@layer.register
def deform_conv(op: DeformConv, x: Feature, offset: Feature, *mask: Feature) -> Layer:
    args = (
        Arg(x.channels, origin=0),
        Arg(op.out, origin="out"),
        Arg(size(op.kernel), origin="kernel"),
        Arg(size(op.stride), "stride", 1, "stride"),
        Arg(_origin(op.sides), "padding", 0, "pad"),
        Arg(size(op.dilation), "dilation", 1, "dilation"),
        Arg(op.groups, "groups", 1, "groups"),
        Arg(op.bias, "bias", True, "bias"),
        Arg(op.offset_groups, "offset_groups", 1, "offset_groups"),
        Arg(_limit(op.offset_limit), "offset_limit", None, "offset_limit"),
    )
    return Layer(
        "{self}({0}, {1}, {2})" if mask else "{self}({0}, {1})",
        make=Make("DeformConv2d", args, frozen=not op.train),
        helper="DeformConv2d",
        passes_channels=False,
    )


@layer.register
def dcnv3_core(op: Dcnv3Core, x: Feature, offset: Feature, mask: Feature) -> Layer:
    args = (
        Arg(op.groups, "groups", origin="groups"),
        Arg(tuple(op.kernel), "kernel", (3, 3)),
        Arg(tuple(op.stride), "stride", (1, 1)),
        Arg((op.sides.top, op.sides.left), "padding", (1, 1)),
        Arg(tuple(op.dilation), "dilation", (1, 1)),
        Arg(float(op.offset_scale), "offset_scale", 1.0, "offset_scale"),
        Arg(op.softmax, "softmax", True, "softmax"),
        Arg(op.remove_center, "remove_center", False, "remove_center"),
        Arg(_limit(op.offset_limit), "offset_limit", None, "offset_limit"),
    )
    return Layer("dcnv3_core({0}, {1}, {2}{args})", args, helper="dcnv3_core")


@layer.register
def center_feature_scale(op: CenterFeatureScale, *inputs: Feature) -> Layer:
    return Layer("center_feature_scale({0}, {1}, {2}, {3}, {4})", helper="center_feature_scale")


def _limit(limit: float | None) -> float | None:
    return None if limit is None else float(limit)
