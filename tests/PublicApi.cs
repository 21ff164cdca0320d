using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;

namespace DeepSeek.Tests;

/// <summary>Lists an assembly's public face, one member a line, so that a change of it is seen in review. Linked into each test project.</summary>
internal static class PublicApi
{
    /// <summary>Compares with the committed listing. With the environment variable UPDATE_PUBLIC_API=1 the listing is rewritten instead.</summary>
    public static void Check(Assembly assembly, string listing)
    {
        string now = Describe(assembly);
        if (Environment.GetEnvironmentVariable("UPDATE_PUBLIC_API") == "1") File.WriteAllText(listing, now);
        string committed = File.Exists(listing) ? File.ReadAllText(listing) : "";
        string[] removed = [.. committed.Split('\n').Except(now.Split('\n'))], added = [.. now.Split('\n').Except(committed.Split('\n'))];
        Assert.True(removed.Length + added.Length == 0,
            $"The public API differs from {Path.GetFileName(listing)}. If that is meant, run the tests once with UPDATE_PUBLIC_API=1 and commit the listing.\n- {string.Join("\n- ", removed)}\n+ {string.Join("\n+ ", added)}");
    }

    private static string Describe(Assembly assembly)
    {
        var lines = new List<string>();
        foreach (Type type in assembly.GetExportedTypes())
        {
            string name = Name(type);
            string kind = type.IsEnum ? "enum" : type.IsInterface ? "interface" : type.IsValueType ? "struct" : type.IsAbstract && type.IsSealed ? "static class" : type.IsAbstract ? "abstract class" : type.IsSealed ? "sealed class" : "class";
            lines.Add($"{kind} {name}{(type.BaseType is { } b && b != typeof(object) && !type.IsValueType ? " : " + Name(b) : "")}");
            foreach (MemberInfo m in type.GetMembers(BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly))
                if (Line(m) is { } line) lines.Add($"{name}.{line}");
        }
        lines.Sort(StringComparer.Ordinal);
        return string.Join('\n', lines.Distinct()) + "\n";
    }

    private static string? Line(MemberInfo member)
    {
        if (member.GetCustomAttribute<CompilerGeneratedAttribute>() is not null && member is not MethodInfo { IsSpecialName: true }) return null; // what records get for free
        switch (member)
        {
            case MethodBase m when Visible(m) && !m.IsSpecialName || member is ConstructorInfo c && Visible(c):
                var method = (MethodBase)member;
                string parameters = string.Join(", ", method.GetParameters().Select(p => $"{Name(p.ParameterType)} {p.Name}{(p.HasDefaultValue ? " = " + (p.DefaultValue?.ToString() ?? "null") : "")}"));
                return $"{(method.IsStatic ? "static " : "")}{(method is MethodInfo i ? Name(i.ReturnType) + " " : "")}{method.Name}({parameters})";
            case PropertyInfo p when (p.GetMethod ?? p.SetMethod) is { } accessor && Visible(accessor):
                bool init = p.SetMethod?.ReturnParameter.GetRequiredCustomModifiers().Contains(typeof(IsExternalInit)) == true;
                return $"{(accessor.IsStatic ? "static " : "")}{Name(p.PropertyType)} {p.Name} {{{(p.GetMethod is null ? "" : " get;")}{(p.SetMethod is { } s && Visible(s) ? init ? " init;" : " set;" : "")} }}";
            case FieldInfo f when (f.IsPublic || f.IsFamily) && f.Name != "value__":
                return f.IsLiteral ? $"const {f.Name} = {f.GetRawConstantValue()}" : $"{Name(f.FieldType)} {f.Name}";
            case EventInfo e when e.AddMethod is { } add && Visible(add):
                return $"event {Name(e.EventHandlerType!)} {e.Name}";
            default:
                return null;
        }
    }

    private static bool Visible(MethodBase m) => m.IsPublic || m.IsFamily || m.IsFamilyOrAssembly;

    private static string Name(Type type)
    {
        if (type.IsByRef) return "ref " + Name(type.GetElementType()!);
        if (type.IsArray) return Name(type.GetElementType()!) + "[]";
        if (type.IsGenericParameter) return type.Name;
        if (Nullable.GetUnderlyingType(type) is { } inner) return Name(inner) + "?";
        var text = new StringBuilder();
        if (type.DeclaringType is { } outer) text.Append(Name(outer)).Append('.');
        else if (type.Namespace is { } space && space.StartsWith("DeepSeek", StringComparison.Ordinal)) text.Append(space).Append('.');
        int tick = type.Name.IndexOf('`', StringComparison.Ordinal);
        text.Append(tick < 0 ? type.Name : type.Name[..tick]);
        if (type.IsGenericType) text.Append('<').AppendJoin(", ", type.GetGenericArguments().Select(Name)).Append('>');
        return text.ToString();
    }
}
