using DeepSeek.Tensors;

namespace DeepSeek.Backends.Cpu.Assembly;

/// <summary>
/// The assembled matrix-vector product of one format, for 1, 2 and 4 tokens a call. A token's result is made by the same operations in the same order whatever the count.
/// </summary>
internal sealed unsafe class DotKernel(DType type, delegate* unmanaged<long*, void> one, delegate* unmanaged<long*, void> two, delegate* unmanaged<long*, void> four)
{
    private const int Fields = 12, Streams = 4;

    /// <summary>Columns of a step: a row is a whole number of them.</summary>
    public int StepColumns { get; } = type is DType.Q4_K or DType.Q5_K or DType.Q6_K ? 256 : 64;

    /// <summary>y[t][n] for rows [first, first + count) and all tokens, without bias.</summary>
    public void Rows(Weight w, int first, int count, QuantisedRows x, Tensor y)
    {
        long* fields = stackalloc long[Fields];
        fields[3] = w.Columns / StepColumns;
        fields[9] = w.Columns;
        fields[10] = (long)y.Stride * sizeof(float);
        for (int t = 0; t < x.Rows;)
        {
            int left = x.Rows - t;
            QuantisedRows some = x.Take(t, left);
            fields[4] = some.Q;
            fields[5] = some.Scales;
            fields[6] = some.Sums;
            fields[7] = some.NegativeLanes;
            float* to = (float*)y.Address + (long)t * y.Stride + first;
            if (left >= 4) Call(four, fields, w, first, count, 0, to);
            else if (left >= 2) Call(two, fields, w, first, count, 0, to);
            else
            {
                int each = count / Streams;
                if (each > 0) Call(one, fields, w, first, each, each, to);
                if (count > each * Streams) Call(one, fields, w, first + each * Streams, count - each * Streams, 0, to + each * Streams);
            }
            t += left >= 4 ? 4 : left >= 2 ? 2 : 1;
        }
    }

    /// <param name="kernel">Which.</param>
    /// <param name="fields">The argument block; what depends on the rows is filled in here.</param>
    /// <param name="w">The weight.</param>
    /// <param name="first">First row.</param>
    /// <param name="count">Rows of a stream.</param>
    /// <param name="distance">Rows between streams; 0: there is one.</param>
    /// <param name="to">Where the first row's result goes.</param>
    private static void Call(delegate* unmanaged<long*, void> kernel, long* fields, Weight w, int first, int count, int distance, float* to)
    {
        fields[0] = w.Row(first);
        fields[1] = distance * w.RowBytes;
        fields[2] = count;
        fields[8] = (nint)to;
        fields[11] = distance * sizeof(float);
        kernel(fields);
    }
}
